#include "peer/channel.h"

int channel_id(lua_State *L, struct peer *p, int idx, uint32_t *stream)
{
    (void)L, (void)p, (void)idx, (void)stream;
    return 0;
}

bool channel_push(struct peer *p, lua_State *L, uint32_t stream)
{
    (void)p, (void)stream;
    lua_pushnil(L);
    return false;
}
