-- A key at random for each request: SEED BEFORE DIGITS COUNT AFTER [METHOD FILE], the file being the body, its "x" as another
-- letter at random: a store may skip what is there already.
local before, pattern, count, after, method
local bodies = {}

function init(args)
  math.randomseed(tonumber(args[1]))
  before, pattern, count, after = args[2], "%0" .. args[3] .. "d", tonumber(args[4]), args[5]
  method = args[6] or "GET"
  if args[7] then
    local file = assert(io.open(args[7], "rb"))
    local body = file:read("*a")
    file:close()
    for letter in ("stuvwxyz"):gmatch(".") do
      bodies[#bodies + 1] = body:gsub("x", letter)
    end
  end
end

function request()
  local body = #bodies > 0 and bodies[math.random(#bodies)] or nil
  return wrk.format(method, before .. string.format(pattern, math.random(0, count - 1)) .. after, nil, body)
end
