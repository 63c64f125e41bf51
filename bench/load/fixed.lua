-- One request again and again, with a body from a file, its "x" as other letters in turn: a store may skip what is there
-- already. METHOD FILE
local requests, at = {}, 0

function init(args)
  local file = assert(io.open(args[2], "rb"))
  local body = file:read("*a")
  file:close()
  for index, letter in ipairs({ "x", "y" }) do
    requests[index] = wrk.format(args[1], nil, nil, (body:gsub("x", letter)))
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
