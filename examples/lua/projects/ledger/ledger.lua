--- Keeps accounts in whole cents and writes readable reports.
--
--   local book = ledger.new()
--   book:enter("2024-03-01", "rent", -80000)
--   print(book:report())

local ledger = {}
ledger.__index = ledger

function ledger.new()
  return setmetatable({ entries = {} }, ledger)
end

local function is_date(text)
  local year, month, day = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)$")
  if not year then return false end
  month, day = tonumber(month), tonumber(day)
  return month >= 1 and month <= 12 and day >= 1 and day <= 31
end

--- `cents` is a whole number; expenses are negative.
function ledger:enter(date, account, cents)
  if not is_date(date) then error("'" .. date .. "' is not a date: expected YYYY-MM-DD", 2) end
  if cents % 1 ~= 0 then error("an amount is in whole cents", 2) end
  self.entries[#self.entries + 1] = { date = date, account = account, cents = cents }
end

function ledger:balance(account)
  local sum = 0
  for _, entry in ipairs(self.entries) do
    if account == nil or entry.account == account then sum = sum + entry.cents end
  end
  return sum
end

--- Formats 123456 as 1,234.56.
function ledger.money(cents)
  local sign = cents < 0 and "-" or ""
  cents = math.abs(cents)
  local whole = ("%d"):format(math.floor(cents / 100))
  local grouped = whole:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
  return ("%s%s.%02d"):format(sign, grouped, cents % 100)
end

--- Splits `cents` into `parts` shares that differ by at most one cent and add up to `cents`.
function ledger.split(cents, parts)
  local share, left = math.floor(cents / parts), cents % parts
  local shares = {}
  for i = 1, parts do shares[i] = share + (i <= left and 1 or 0) end
  return shares
end

--- All accounts, sorted by name, each with its number of entries and its sum.
function ledger:accounts()
  local by_name, list = {}, {}
  for _, entry in ipairs(self.entries) do
    local account = by_name[entry.account]
    if not account then
      account = { name = entry.account, count = 0, cents = 0 }
      by_name[entry.account] = account
      list[#list + 1] = account
    end
    account.count = account.count + 1
    account.cents = account.cents + entry.cents
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- The average number of entries per month, over the months that have any.
function ledger:entries_per_month()
  local months, count = {}, 0
  for _, entry in ipairs(self.entries) do
    local month = entry.date:sub(1, 7)
    if not months[month] then
      months[month] = true
      count = count + 1
    end
  end
  if count == 0 then return 0 end
  return #self.entries / count
end

--- One line per account, then the entries per month.
function ledger:report()
  local lines = {}
  for _, account in ipairs(self:accounts()) do
    lines[#lines + 1] = ("%-10s %3d %12s"):format(account.name, account.count, ledger.money(account.cents))
  end
  lines[#lines + 1] = "entries per month: " .. self:entries_per_month()
  return table.concat(lines, "\n")
end

--- Comma-separated, for a spreadsheet. A whole amount has no fraction.
function ledger:export()
  local lines = {}
  for i, entry in ipairs(self.entries) do
    lines[i] = table.concat({ entry.date, entry.account, entry.cents / 100 }, ",")
  end
  return table.concat(lines, "\n")
end

return ledger
