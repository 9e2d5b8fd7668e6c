/*
** A small stand-alone Lua: runs one script with its arguments.
** Written for the history of the demonstration. It compiles with every release from 5.1 to 5.5, so a
** change of behaviour always comes from the library.
*/

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua.h"

#include "lauxlib.h"
#include "lualib.h"


/* The whole run is in protected mode, so that an error during setup is reported, too. */
typedef struct Run {
  int argc;
  char **argv;
} Run;


/* Message handler: adds a traceback to the error message. */
static int traceback (lua_State *L) {
  if (!lua_isstring(L, 1))  /* an error object of the script's own? */
    return 1;
  lua_getglobal(L, "debug");
  if (!lua_istable(L, -1)) {
    lua_settop(L, 1);
    return 1;
  }
  lua_getfield(L, -1, "traceback");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 2);  /* leave this function out */
  lua_call(L, 2, 1);
  return 1;
}


/* arg[0] is the script, arg[1] its first argument, as in the standard interpreter. */
static void set_arg (lua_State *L, const Run *run) {
  int i;
  lua_newtable(L);
  for (i = 0; i < run->argc; i++) {
    lua_pushstring(L, run->argv[i]);
    lua_rawseti(L, -2, i - 1);
  }
  lua_setglobal(L, "arg");
}


static int run_script (lua_State *L) {
  const Run *run = (const Run *)lua_touserdata(L, 1);
  int i;
  lua_settop(L, 0);
  luaL_openlibs(L);
  set_arg(L, run);
  if (luaL_loadfile(L, run->argv[1]) != 0)
    return lua_error(L);
  luaL_checkstack(L, run->argc, "too many arguments to script");
  for (i = 2; i < run->argc; i++)
    lua_pushstring(L, run->argv[i]);
  lua_call(L, run->argc - 2, 0);
  return 0;
}


int main (int argc, char **argv) {
  Run run;
  lua_State *L;
  int status;
  if (argc == 2 && strcmp(argv[1], "-v") == 0) {
    puts(LUA_VERSION);
    return EXIT_SUCCESS;
  }
  if (argc < 2) {
    fprintf(stderr, "usage: lua script [argument]...\n       lua -v\n");
    return EXIT_FAILURE;
  }
  L = luaL_newstate();
  if (L == NULL) {
    fprintf(stderr, "lua: not enough memory\n");
    return EXIT_FAILURE;
  }
  run.argc = argc;
  run.argv = argv;
  lua_pushcfunction(L, traceback);
  lua_pushcfunction(L, run_script);
  lua_pushlightuserdata(L, &run);
  status = lua_pcall(L, 1, 0, 1);
  if (status != 0) {
    const char *message = lua_tostring(L, -1);
    fprintf(stderr, "lua: %s\n", message ? message : "(error object is not a string)");
  }
  lua_close(L);
  return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
