os.exit(require('luaunit').LuaUnit.run())
