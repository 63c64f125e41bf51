/**
 * What Redis runs for us, in Lua 5.1: a script sees one moment and is applied whole. A false becomes nil in a reply.
 *
 * An entry is a hash under its key, and its name stands in two sorted sets: the index, where all scores are 0 so that the
 * order is that of the bytes, and the expiries, scored by the millisecond of the expiry.
 *
 * @see https://redis.io/docs/latest/develop/programmability/eval-intro/
 */

/** How long after the expiry Redis itself removes an entry, by its own clock: where nobody sweeps. */
export const PURGE_MS = 60_000;

/** The outcomes that a number stands for in a reply. */
export const OUTCOMES = ["refused", "written", "deleted", "absent"] as const;

const code = (outcome: (typeof OUTCOMES)[number]) => OUTCOMES.indexOf(outcome);

/** Names the layout in `ARGV[1]` and its shards in `ARGV[2]`, where nothing is named; answers what is, and the rest. */
export const SCHEMA = `
local function named() return redis.call('HMGET', KEYS[1], 'version', 'shards') end
local found, made = named(), 0
if not found[1] then
  redis.call('HSET', KEYS[1], 'version', ARGV[1], 'shards', ARGV[2])
  found, made = named(), 1
end
return { found[1], found[2], made, ARGV[3], ARGV[4] }`;

/**
 * KEYS: the index, the expiries, the entry of each operation. ARGV: now, whether it is atomic, the bytes of all values read,
 * where the name in a key begins; and of each operation: its kind, its two conditions (nothing, `*` or versions, each
 * between spaces), the fields of a put.
 *
 * It decides first, as `decide` does, and changes afterwards. Redis refuses for want of memory only what comes before the
 * first change: puts go first, and of a put the step that needs memory. In the end it takes out names that Redis itself has
 * expired, a few more than it may have put in, so that there are not ever more where nobody sweeps.
 */
export const WRITE = `
local now, atomic, room, start = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3]), tonumber(ARGV[4])
local at = 4
local function take()
  at = at + 1
  return ARGV[at]
end
local function names(condition, version)
  return condition == '*' or string.find(condition, ' ' .. version .. ' ', 1, true)
end
local function holds(match, none, version)
  if match ~= '' and not (version and names(match, version)) then return false end
  return none == '' or not (version and names(none, version))
end

local entries, changed, seen = {}, {}, {}
local function load(key)
  if not entries[key] then
    local found = redis.call('HMGET', key, 'version', 'metadata', 'expires_at')
    entries[key] = { version = found[1], metadata = found[2], expires = found[3] }
  end
  return entries[key]
end
local function read(key, entry)
  local bytes = entry.value and #entry.value or redis.call('HSTRLEN', key, 'value')
  if bytes > room then return { entry.version, entry.metadata, entry.expires, false } end
  room = room - bytes
  return { entry.version, entry.metadata, entry.expires, entry.value or redis.call('HGET', key, 'value') }
end

local outcomes, refused = {}, false
for index = 3, #KEYS do
  local key, outcome, live, put = KEYS[index], false, false, false
  local kind = take()
  local match = take()
  local none = take()
  if kind == 'put' then
    put = {}
    for _, field in ipairs({ 'value', 'version', 'metadata', 'expires' }) do
      local value = take()
      put[field] = value ~= '' and value
    end
  end
  if not put or match ~= '' or none ~= '' then
    local entry = load(key)
    if entry.version and not (entry.expires and tonumber(entry.expires) <= now) then live = entry end
  end
  if not holds(match, none, live and live.version) then
    outcome, refused = ${code("refused")}, true
  elseif kind == 'get' then
    outcome = live and read(key, live)
  else
    if not seen[key] then changed[#changed + 1] = key end
    seen[key], entries[key] = true, put or {}
    outcome = put and ${code("written")} or live and ${code("deleted")} or ${code("absent")}
  end
  outcomes[index - 2] = outcome
end
if atomic and refused then return outcomes end

for _, key in ipairs(changed) do
  local entry, name = entries[key], string.sub(key, start)
  if entry.version then
    redis.call('ZADD', KEYS[1], 0, name)
    redis.call('DEL', key)
    redis.call('HSET', key, 'value', entry.value, 'version', entry.version)
    if entry.metadata then redis.call('HSET', key, 'metadata', entry.metadata) end
    if entry.expires then
      redis.call('HSET', key, 'expires_at', entry.expires)
      redis.call('PEXPIREAT', key, string.format('%.0f', entry.expires + ${PURGE_MS}))
      redis.call('ZADD', KEYS[2], entry.expires, name)
    else
      redis.call('ZREM', KEYS[2], name)
    end
  end
end
local function remove(key, name)
  redis.call('DEL', key)
  redis.call('ZREM', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
end
for _, key in ipairs(changed) do
  if not entries[key].version then remove(key, string.sub(key, start)) end
end
if #changed > 0 then
  local base = string.sub(KEYS[3], 1, start - 1)
  local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ${PURGE_MS}, 'LIMIT', 0, #changed + 1)
  for _, name in ipairs(gone) do remove(base .. name, name) end
end
return outcomes`;

/**
 * KEYS: the entries. ARGV: how many bytes the values may take in all, and how many of them come along. Of a value that fits,
 * but does not come along, its length comes.
 */
export const GET_MANY = `
local left, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local entries = {}
for index, key in ipairs(KEYS) do
  local found = redis.call('HMGET', key, 'version', 'metadata', 'expires_at')
  if found[1] then
    local value = redis.call('HSTRLEN', key, 'value')
    if value > left then
      value = false
    else
      left = left - value
      if value <= room then
        room = room - value
        value = redis.call('HGET', key, 'value')
      end
    end
    found[4] = value
  end
  entries[index] = found[1] and found
end
return entries`;

/**
 * KEYS: the index, the expiries. ARGV: what stands before a name in the key of its entry, the prefix, the name after which
 * to begin, how many entries, now, how many names to look at, the bytes of the page or nothing, and how many of them come
 * along. Answers the name looked at last, or nil at the end, and the entries; takes names out that Redis itself expired.
 */
export const LIST = `
local base, prefix, after = ARGV[1], ARGV[2], ARGV[3]
local limit, now, looks, bytes, room = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local low, high = after == '' and '[' .. prefix or '(' .. after, '(' .. prefix .. '\\255'
local page, last, total = {}, false, 0
repeat
  local count = math.min(looks, math.max(limit - #page + 1, 50))
  local names = redis.call('ZRANGE', KEYS[1], low, high, 'BYLEX', 'LIMIT', 0, count)
  for _, name in ipairs(names) do
    local key = base .. name
    local found = redis.call('HMGET', key, 'version', 'metadata', 'expires_at')
    if not found[1] then
      redis.call('ZREM', KEYS[1], name)
      redis.call('ZREM', KEYS[2], name)
    elseif not (found[3] and tonumber(found[3]) <= now) then
      if #page == limit or (bytes and #page > 0 and total >= bytes) then return { last, page } end
      local value = false
      if bytes then
        value = redis.call('HSTRLEN', key, 'value')
        total = total + value
        if value <= room then
          room = room - value
          value = redis.call('HGET', key, 'value')
        end
      end
      page[#page + 1] = { name, found[1], found[2], found[3], value }
    end
    last = name
  end
  if #names < count then return { false, page } end
  low = '(' .. last
  looks = looks - #names
until looks <= 0
return { last, page }`;

/** KEYS: the index, the expiries. ARGV: what stands before a name in the key of its entry, now, how many at most. */
export const SWEEP = `
local names = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])
for _, name in ipairs(names) do
  redis.call('DEL', ARGV[1] .. name)
  redis.call('ZREM', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
end
return #names`;
