-- Asks the gateway about a request: on with it as the gateway says, or the gateway's own answer. Whatever goes wrong
-- ends in an answer of 503, never in the service.

local gateway = ({...})[1] or "127.0.0.1:8080"
-- HAProxy 2.6 ends, all of it, when its client for HTTP is given more headers than `tune.http.maxhdr` (101).
local most_headers = 90
local of_one_connection = {
    ["connection"] = true, ["keep-alive"] = true, ["upgrade"] = true, ["te"] = true, ["trailer"] = true,
    ["transfer-encoding"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true,
    ["proxy-connection"] = true, ["http2-settings"] = true,
}
-- Of a 200: what the service is told. All else of it is between the gateway and HAProxy.
local told = { ["cookie"] = true, ["authorization"] = true, ["x-api-key"] = true, ["x-request-id"] = true }

local function all(values)
    local list = {}
    for index = 0, #values do
        if values[index] ~= nil then list[#list + 1] = values[index] end
    end
    return list
end

local function answer(txn, status, reason, headers, body)
    local reply = txn:reply({ status = status, reason = reason })
    for name, values in pairs(headers) do
        local lower = name:lower()
        if not of_one_connection[lower] then
            for _, value in ipairs(all(values)) do reply:add_header(name, value) end
        end
    end
    if txn.f:method() ~= "HEAD" then reply:set_body(body) end
    txn:done(reply)
end

local function question(txn)
    local headers, count = { ["host"] = { "gateway" } }, 0
    for name, values in pairs(txn.http:req_get_headers()) do
        if not of_one_connection[name] then
            headers[name] = all(values)
            count = count + #headers[name]
        end
    end
    if count > most_headers then return nil end
    headers["x-forwarded-method"] = { txn.f:method() }
    headers["x-forwarded-uri"] = { txn.f:pathq() }
    return { url = "http://" .. gateway .. "/.auth/verify", headers = headers, timeout = 10000 }
end

local function ask(txn)
    local asked = question(txn)
    if asked == nil then return answer(txn, 431, "Request Header Fields Too Large", {}, "too many headers\n") end
    local verdict = core.httpclient():get(asked)
    if verdict == nil or verdict.status == nil or verdict.status < 200 or verdict.status == 204 then
        return answer(txn, 503, "Service Unavailable", {}, "the gateway cannot be asked\n")
    end
    if verdict.status ~= 200 then
        return answer(txn, verdict.status, verdict.reason, verdict.headers, verdict.body or "")
    end
    for _, names in ipairs(all(verdict.headers["x-gateway-remove"] or {})) do
        for name in names:gmatch("[^%s,]+") do txn.http:req_del_header(name) end
    end
    for name, _ in pairs(told) do txn.http:req_del_header(name) end
    for name, values in pairs(verdict.headers) do
        if told[name] or name:sub(1, 7) == "x-auth-" then
            for _, value in ipairs(all(values)) do txn.http:req_add_header(name, value) end
        end
    end
    txn:set_priv(all(verdict.headers["set-cookie"] or {}))
    txn:set_var("txn.admitted", true)
end

-- Both cookies of a session that was renewed on the way.
local function hand_on(txn)
    local cookies = txn:get_priv()
    if cookies == nil or #cookies == 0 then return end
    for _, cookie in ipairs(cookies) do txn.http:res_add_header("set-cookie", cookie) end
    txn.http:res_set_header("cache-control", "no-store")
end

core.register_action("ask", { "http-req" }, ask, 0)
core.register_action("hand_on", { "http-res" }, hand_on, 0)
