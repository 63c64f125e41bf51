-- Batches of gets of keys at random, made beforehand: SEED PREFIX DIGITS COUNT SIZE
local MADE = 500
local requests, next = {}, 0

function init(args)
  math.randomseed(tonumber(args[1]))
  local pattern = '{"op":"get","key":"' .. args[2] .. "%0" .. args[3] .. 'd"}'
  local count, size = tonumber(args[4]), tonumber(args[5])
  wrk.headers["Content-Type"] = "application/json"
  for made = 1, MADE do
    local gets = {}
    for at = 1, size do
      gets[at] = string.format(pattern, math.random(0, count - 1))
    end
    requests[made] = wrk.format("POST", nil, nil, '{"operations":[' .. table.concat(gets, ",") .. "]}")
  end
end

function request()
  next = next % MADE + 1
  return requests[next]
end
