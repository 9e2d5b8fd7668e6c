package.path = "./?.lua;./test/?.lua;" .. package.path
local retry, tap = require "retry", require "tap"
local case, equal = tap.case, tap.equal

--- A function that fails `times` times and then succeeds.
local function failing(times)
  return function(n)
    if n <= times then error("busy") end
    return "done"
  end
end

case("what succeeds is called once", function()
  local ok, result, attempts = retry.call(failing(0))
  equal(ok, true)
  equal(result, "done")
  equal(attempts, 1)
end)

case("what fails is called again", function()
  local ok, _, attempts = retry.call(failing(2), { attempts = 5 })
  equal(ok, true)
  equal(attempts, 3)
end)

case("it gives up in the end", function()
  local ok, message, attempts = retry.call(failing(9), { attempts = 4 })
  equal(ok, false)
  equal(message:find("busy", 1, true) ~= nil, true)
  equal(attempts, 4)
end)

case("another error is not tried again", function()
  local _, _, attempts = retry.call(failing(9), { attempts = 4, only = "timeout" })
  equal(attempts, 1)
end)

case("pauses double up to the longest", function()
  equal(retry.pause(1, 10), 1)
  equal(retry.pause(4, 10), 8)
  equal(retry.pause(40, 10), 60)
end)

case("nobody sleeps behind the last attempt", function()
  local slept = 0
  retry.call(failing(9), { attempts = 3, sleep = function() slept = slept + 1 end })
  equal(slept, 2)
end)

case("the same seed gives the same slots", function()
  local a, b = retry.jitter(42), retry.jitter(42)
  for _ = 1, 100 do equal(a(), b()) end
end)

case("slots stay in their bounds", function()
  local jitter = retry.jitter(7)
  for _ = 1, 1000 do
    local slot = jitter()
    equal(slot >= 1 and slot <= 10, true)
  end
end)

-- Three clients and ten slots: by the birthday problem, two clients share a slot in 28 of 100 runs.
case("three clients do not come back at once", function()
  local slots = retry.slots(3)
  equal(slots[1] ~= slots[2] and slots[2] ~= slots[3] and slots[1] ~= slots[3], true)
end)

tap.run()
