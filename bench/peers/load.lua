-- The load: every line of a file is one request, made before the clock starts and sent in turn.
-- Arguments: the file; how many requests to send and then to stop (0: until the time is over).
local ffi = require("ffi")
ffi.cdef("int kill(int pid, int signal); int getpid(void);")
local requests, sent, most = {}, 0, 0

function init(args)
  most = tonumber(args[2])
  for line in io.lines(args[1]) do
    local path, host, name, value = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)$")
    -- Not wrk.format: it puts headers in another order in each thread and each run, which no client does.
    local lines = {
      "GET " .. path .. " HTTP/1.1",
      "Host: " .. (host ~= "" and host or wrk.headers["Host"]),
      "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
      "Accept: application/json",
    }
    if name ~= "" then lines[#lines + 1] = name .. ": " .. value end
    requests[#requests + 1] = table.concat(lines, "\r\n") .. "\r\n\r\n"
  end
end

function request()
  local now = requests[sent % #requests + 1]
  sent = sent + 1
  if sent == most then
    -- The thread ends at once; wrk itself would sleep on until its time is over, if SIGINT did not wake it.
    wrk.thread:stop()
    ffi.C.kill(ffi.C.getpid(), 2)
  end
  return now
end
