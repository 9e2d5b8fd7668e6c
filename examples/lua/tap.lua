--- Test cases, reported as TAP on standard output. Runs on every Lua from 5.1 on.
-- Each project has a copy as test/tap.lua.

local tap = {}
local cases = {}

local function show(value)
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

--- Declares a case; it fails when `body` raises an error.
function tap.case(name, body)
  cases[#cases + 1] = { name = name, body = body }
end

function tap.equal(got, expected)
  if got ~= expected then
    error(("got %s, expected %s"):format(show(got), show(expected)), 2)
  end
end

--- `body` must raise an error whose message contains `text`.
function tap.raises(text, body)
  local ok, message = pcall(body)
  if ok then error("no error was raised", 2) end
  if not tostring(message):find(text, 1, true) then
    error(("the error is %s, expected one with %s"):format(show(message), show(text)), 2)
  end
end

local function comment(text)
  for line in tostring(text):gmatch("[^\n]+") do print("# " .. line) end
end

--- Runs the declared cases and exits, with 0 if none has failed.
-- With `skip_all`, a reason, every case is reported as skipped.
function tap.run(skip_all)
  print("1.." .. #cases)
  local failed = 0
  for number, case in ipairs(cases) do
    if skip_all then
      print(("ok %d - %s # SKIP %s"):format(number, case.name, skip_all))
    else
      local ok, message = xpcall(case.body, debug.traceback)
      print(("%s %d - %s"):format(ok and "ok" or "not ok", number, case.name))
      if not ok then
        failed = failed + 1
        comment(message)
      end
    end
  end
  os.exit(failed == 0 and 0 or 1)
end

return tap
