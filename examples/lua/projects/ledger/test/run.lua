package.path = "./?.lua;./test/?.lua;" .. package.path
local ledger, junit = require "ledger", require "junit"
local case, equal = junit.case, junit.equal

local function book()
  local new = ledger.new()
  new:enter("2024-03-01", "rent", -80000)
  new:enter("2024-03-15", "wages", 250000)
  new:enter("2024-04-01", "rent", -80000)
  new:enter("2024-04-15", "wages", 250050)
  return new
end

case("a balance adds up", function()
  equal(book():balance(), 340050)
  equal(book():balance("rent"), -160000)
end)

case("a day that is none is refused", function()
  equal(pcall(ledger.enter, ledger.new(), "2024-13-01", "rent", 1), false)
  equal(pcall(ledger.enter, ledger.new(), "March", "rent", 1), false)
end)

case("half a cent is refused", function()
  equal(pcall(ledger.enter, ledger.new(), "2024-03-01", "rent", 0.5), false)
end)

case("money has two digits and groups of three", function()
  equal(ledger.money(5), "0.05")
  equal(ledger.money(123456), "1,234.56")
  equal(ledger.money(-100000000), "-1,000,000.00")
end)

case("a split loses no cent", function()
  local shares = ledger.split(1000, 3)
  equal(shares[1], 334)
  equal(shares[2], 333)
  equal(shares[1] + shares[2] + shares[3], 1000)
end)

case("accounts are in order of their names", function()
  local accounts = book():accounts()
  equal(accounts[1].name, "rent")
  equal(accounts[2].count, 2)
end)

case("an average of two and a half is written so", function()
  local new = book()
  new:enter("2024-04-30", "gift", 100)
  equal(new:report():match("per month: (.*)"), "2.5")
end)

case("a whole average is written without a fraction", function()
  equal(book():report():match("per month: (.*)"), "2")
end)

case("whole amounts are exported without a fraction", function()
  equal(book():export():match("^[^\n]*"), "2024-03-01,rent,-800")
end)

junit.run("ledger")
