package.path = "./?.lua;./test/?.lua;" .. package.path
local vector, tap = require "vector", require "tap"
local case, equal = tap.case, tap.equal

local function near(got, expected)
  equal(math.abs(got - expected) < 1e-9, true)
end

case("vectors are added and subtracted", function()
  equal(vector(1, 2) + vector(3, 4), vector(4, 6))
  equal(vector(1, 2) - vector(3, 5), vector(-2, -3))
end)

case("a number scales from either side", function()
  equal(vector(1, 2) * 3, vector(3, 6))
  equal(3 * vector(1, 2), vector(3, 6))
end)

case("different dimensions do not mix", function()
  tap.raises("vectors of 2 and of 3 dimensions", function() return vector(1, 2) + vector(1, 2, 3) end)
end)

case("a vector is written with its components", function()
  equal(tostring(vector(1, 2.5, 10 / 2)), "(1, 2.5, 5)")
end)

case("the length of 3, 4 is 5", function()
  equal(vector(3, 4):length(), 5)
end)

case("the cross product is square to both", function()
  local a, b = vector(1, 2, 3), vector(-2, 0, 5)
  equal(a:cross(b):dot(a), 0)
  equal(a:cross(b):dot(b), 0)
end)

case("halfway lies between", function()
  equal(vector(0, 10):lerp(vector(4, 20), 0.5), vector(2, 15))
end)

case("the first norm is the way a taxi takes", function()
  near(vector(3, -4):norm(1), 7)
end)

case("the second norm is the length", function()
  near(vector(3, -4):norm(2), 5)
end)

case("components come back in order", function()
  local x, y, z = vector(1, 2, 3):components()
  equal(x, 1)
  equal(y, 2)
  equal(z, 3)
end)

case("each vector is handed over as arguments", function()
  local areas = vector.each({ vector(2, 3), vector(4, 5) }, function(w, h) return w * h end)
  equal(areas[1], 6)
  equal(areas[2], 20)
end)

tap.run()
