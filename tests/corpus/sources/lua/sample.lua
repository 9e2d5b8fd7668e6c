local lu = require('luaunit')

TestPrices = {}
function TestPrices:test_adds() lu.assertEquals(1 + 1, 2) end
function TestPrices:test_rounds() lu.assertEquals(math.floor(2.5), 3) end
function TestPrices:test_errs() local none; return none.field end
function TestPrices:test_skipped() lu.skip('no net') end
function TestPrices:test_prints() print('printed in between') end
function TestPrices:test_deep() lu.assertEquals({ 1, 2, { 3 } }, { 1, 2, { 4 } }) end

TestSetUp = {}
function TestSetUp:setUp() error('nothing is set up') end
function TestSetUp:test_never_reached() end

function test_alone() lu.assertTrue(true) end

os.exit(lu.LuaUnit.run())
