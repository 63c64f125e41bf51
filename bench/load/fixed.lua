-- One request again and again, with a body from a file: METHOD FILE
function init(args)
  local file = assert(io.open(args[2], "rb"))
  wrk.method = args[1]
  wrk.body = file:read("*a")
  file:close()
end
