#include "launcher/lua/luavalue.h"

#include <lauxlib.h>

void luavalue_push(lua_State *L, const struct grapnel_value *v)
{
    const struct grapnel_value *key, *item;
    const char *text;
    size_t n;

    luaL_checkstack(L, 4, NULL);
    switch (grapnel_value_type(v)) {
    case GRAPNEL_BOOL:
        lua_pushboolean(L, grapnel_value_bool(v, 0));
        break;
    case GRAPNEL_INT:
        lua_pushinteger(L, grapnel_value_int(v, 0));
        break;
    case GRAPNEL_FLOAT:
        lua_pushnumber(L, grapnel_value_float(v, 0.));
        break;
    case GRAPNEL_BYTES:
    case GRAPNEL_TEXT:
        text = grapnel_value_string(v, &n);
        lua_pushlstring(L, text, n);
        break;
    case GRAPNEL_ARRAY:
        lua_newtable(L);
        for (size_t i = 0; i < grapnel_value_count(v); i++) {
            luavalue_push(L, grapnel_value_at(v, i));
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case GRAPNEL_MAP:
        lua_newtable(L);
        for (size_t i = 0; grapnel_value_pair(v, i, &key, &item); i++) {
            luavalue_push(L, key);
            luavalue_push(L, item);
            lua_rawset(L, -3);
        }
        break;
    case GRAPNEL_NIL:
    case GRAPNEL_REF:
        lua_pushnil(L);
        break;
    }
}
