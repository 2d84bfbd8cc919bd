lua5.4: cannot open t2.lua: No such file or directory
