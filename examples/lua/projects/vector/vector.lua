--- Small vectors of numbers, of any dimension.
--
--   local v = vector(3, 4)
--   print(v:length(), (v + vector(1, 1)):components())

local vector = {}
vector.__index = vector

local function same_dimension(a, b)
  if #a ~= #b then
    error(("vectors of %d and of %d dimensions"):format(#a, #b), 3)
  end
end

local function new(...)
  return setmetatable({ ... }, vector)
end

function vector.map(a, change)
  local result = new()
  for i = 1, #a do result[i] = change(a[i], i) end
  return result
end

function vector.__add(a, b)
  same_dimension(a, b)
  return a:map(function(x, i) return x + b[i] end)
end

function vector.__sub(a, b)
  same_dimension(a, b)
  return a:map(function(x, i) return x - b[i] end)
end

function vector.__mul(a, b)
  if type(a) == "number" then a, b = b, a end
  return a:map(function(x) return x * b end)
end

function vector.__unm(a)
  return a:map(function(x) return -x end)
end

function vector.__eq(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do
    if a[i] ~= b[i] then return false end
  end
  return true
end

--- Uses %g, which formats 3 and 3.0 alike.
function vector.__tostring(a)
  local parts = {}
  for i = 1, #a do parts[i] = ("%g"):format(a[i]) end
  return "(" .. table.concat(parts, ", ") .. ")"
end

function vector.dot(a, b)
  same_dimension(a, b)
  local sum = 0
  for i = 1, #a do sum = sum + a[i] * b[i] end
  return sum
end

function vector.length(a)
  return math.sqrt(a:dot(a))
end

--- The norm of order `p`: 1 is the taxicab norm, 2 the Euclidean norm.
function vector.norm(a, p)
  local sum = 0
  for i = 1, #a do sum = sum + math.pow(math.abs(a[i]), p) end
  return math.pow(sum, 1 / p)
end

function vector.cross(a, b)
  if #a ~= 3 or #b ~= 3 then error("a cross product needs three dimensions", 2) end
  return new(a[2] * b[3] - a[3] * b[2], a[3] * b[1] - a[1] * b[3], a[1] * b[2] - a[2] * b[1])
end

--- Linear interpolation: `a` at t = 0, `b` at t = 1.
function vector.lerp(a, b, t)
  return a + (b - a) * t
end

--- All components, as separate results.
function vector.components(a)
  return unpack(a)
end

--- Calls `f` with the components of each vector of a list; returns the list of its results.
function vector.each(list, f)
  local results = {}
  for i, v in ipairs(list) do results[i] = f(unpack(v)) end
  return results
end

return setmetatable(vector, { __call = function(_, ...) return new(...) end })
