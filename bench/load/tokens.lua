-- Bearer tokens from a file, a line each, at a steady pace: FILE FIRST COUNT PAUSE, the pause in milliseconds
local tokens, at, pause = {}, 0, 0

function init(args)
  local first, count = tonumber(args[2]), tonumber(args[3])
  local line = 0
  for token in io.lines(args[1]) do
    if line >= first and line < first + count then
      tokens[#tokens + 1] = token
    end
    line = line + 1
  end
  pause = tonumber(args[4])
end

function request()
  at = at % #tokens + 1
  wrk.headers["Authorization"] = "Bearer " .. tokens[at]
  return wrk.format()
end

function delay()
  return pause
end
