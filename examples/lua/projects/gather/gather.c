/*
** Collects what a producer yields, in C.
**
**   local gather = require "gather"
**   local list, more = gather.take(function () for i = 1, 9 do coroutine.yield(i) end end, 3)
*/

#include "lua.h"

#include "lauxlib.h"


/* Lua 5.2 renamed these functions, and changed lua_resume. */
#if LUA_VERSION_NUM >= 502
#define register_in(L, functions)	luaL_newlib(L, functions)
#define length_of(L, i)			lua_rawlen(L, i)
#define resume(co, L, count)		lua_resume(co, L, count)
#else
#define register_in(L, functions)	luaL_register(L, "gather", functions)
#define length_of(L, i)			lua_objlen(L, i)
#define resume(co, L, count)		lua_resume(co, count)
#endif


/*
** take (producer, limit) -> list, more
** 'list' has at most 'limit' yielded values; 'more' is true if the producer was still alive.
*/
static int take (lua_State *L) {
  lua_State *co;
  lua_Integer limit = luaL_checkinteger(L, 2);
  lua_Integer n = 0;
  int status = LUA_YIELD;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_argcheck(L, limit >= 0, 2, "cannot be negative");
  lua_settop(L, 2);
  lua_newtable(L);
  co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  while (n < limit) {
    status = resume(co, L, 0);
    if (status != LUA_YIELD)
      break;
    lua_settop(co, 1);  /* the first of the yielded values */
    lua_xmove(co, L, 1);
    lua_rawseti(L, 3, (int)++n);
  }
  if (status != 0 && status != LUA_YIELD) {  /* the producer's own error */
    lua_xmove(co, L, 1);
    return lua_error(L);
  }
  lua_pushvalue(L, 3);
  lua_pushboolean(L, status == LUA_YIELD);
  return 2;
}


/* join (list) -> string */
static int join (lua_State *L) {
  luaL_Buffer buffer;
  size_t i, n;
  luaL_checktype(L, 1, LUA_TTABLE);
  n = length_of(L, 1);
  luaL_buffinit(L, &buffer);
  for (i = 1; i <= n; i++) {
    lua_rawgeti(L, 1, (int)i);
    luaL_addvalue(&buffer);
  }
  luaL_pushresult(&buffer);
  return 1;
}


static const luaL_Reg functions[] = {
  {"take", take},
  {"join", join},
  {NULL, NULL}
};


int luaopen_gather (lua_State *L) {
  register_in(L, functions);
  return 1;
}
