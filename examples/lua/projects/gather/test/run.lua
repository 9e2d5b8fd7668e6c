package.path = "./?.lua;./test/?.lua;" .. package.path
package.cpath = "./?.so"
local gather, tap = require "gather", require "tap"
local case, equal = tap.case, tap.equal

local function counter(last)
  return function()
    for i = 1, last do coroutine.yield(i) end
  end
end

case("everything is taken from a short producer", function()
  local list, more = gather.take(counter(3), 10)
  equal(#list, 3)
  equal(list[3], 3)
  equal(more, false)
end)

case("a long producer is left alive at the limit", function()
  local list, more = gather.take(counter(1000), 5)
  equal(#list, 5)
  equal(more, true)
end)

case("a limit of nothing takes nothing", function()
  equal(#gather.take(counter(3), 0), 0)
end)

case("a negative limit is refused", function()
  tap.raises("cannot be negative", function() gather.take(counter(3), -1) end)
end)

case("only the first of several yielded values counts", function()
  local list = gather.take(function() coroutine.yield("a", "b") end, 10)
  equal(#list, 1)
  equal(list[1], "a")
end)

case("a producer's error is passed on", function()
  tap.raises("out of paper", function()
    gather.take(function() error("out of paper") end, 10)
  end)
end)

case("strings are joined", function()
  equal(gather.join { "a", "b", "c" }, "abc")
  equal(gather.join {}, "")
end)

case("ten thousand values are joined", function()
  local list = gather.take(function()
    for _ = 1, 10000 do coroutine.yield("x") end
  end, 10000)
  equal(#gather.join(list), 10000)
end)

tap.run()
