# grapnel's one Makefile (GNU make). `make help` lists the targets.
#
# The first run does all by itself: scripts/install-deps.sh, autoconf, ./configure (which writes
# config.mk). Sources are found by their place:
#   proto/*.c         compiled twice: for the launcher, and for the agent
#   peer/*.c          a Lua state as one end of a link: compiled twice as well, for the launcher's Lua
#                     and for the worker
#   agent/*.c         the agent
#   agent/worker/*.c  the worker, in which an instance's Lua runs on the host
#   launcher/*.c      libgrapnel, with its folders but these two:
#   launcher/lua/*.c  the Lua module, build/lua/grapnel.so
#   launcher/cli/*.c  the grapnel command, with its folder fleet/
#   examples/*.c      programs that use the library
#   */*.lua           in the folders that know Lua: compiled in, as the bytes of lua_NAME.h
#   tests/unit/test_*.c, tests/agent/test_*.c, tests/fuzz/fuzz_*.c, tests/bench/*.c, tests/*/*.bats

MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

V ?= 0
ifeq ($(V),0)
Q   := @
say  = @printf '  %-6s %s\n' $1 '$2'
endif

# One tree can hold several builds: build/ is the plain one, VARIANT=asan the sanitizers' in
# build/asan, VARIANT=valgrind one whose agent is linked dynamically, for valgrind to look into.
VARIANT ?=
BUILD   ?= build$(VARIANT:%=/%)
OBJ     := $(BUILD)/obj
GEN     := $(BUILD)/gen
DEPS    := build/deps

# ---- configuration, made when it is missing or out of date ------------------------------------

WITHOUT_CONFIG := help clean distclean format
ifneq ($(filter-out $(WITHOUT_CONFIG),$(or $(MAKECMDGOALS),all)),)
include config.mk
ifdef AGENT_LIBC
ifeq ($(VARIANT),)
include $(DEPS)/agent-$(AGENT_LIBC).mk
include $(DEPS)/lua-$(AGENT_LIBC).mk
endif
ifeq ($(SSH2),built)
include $(DEPS)/libssh2.mk
endif
endif
endif

# The packages for all that was asked for, so that they are named or installed in one go.
GROUPS := build $(if $(filter check asan fuzz valgrind,$(MAKECMDGOALS)),test) \
          $(filter demo valgrind lint bench,$(MAKECMDGOALS))

configure: configure.ac
	@scripts/install-deps.sh $(GROUPS)
	$(call say,GEN,$@)
	$(Q)autoconf

config.mk: configure config.mk.in
	@scripts/install-deps.sh $(GROUPS)
	$(call say,GEN,$@)
	$(Q)if [ -x config.status ] && [ -f $@ ]; then \
	    ./config.status -q --recheck && ./config.status -q; \
	else \
	    ./configure -q; \
	fi
	@touch $@

# Static libraries from the distribution's source packages. The file made names the folder.
ifneq ($(AGENT_LIBC),)
$(DEPS)/agent-$(AGENT_LIBC).mk: scripts/build-static-deps.sh config.mk
	@mkdir -p $(@D)
	$(Q)dir=$$(CC='$(AGENT_CC)' scripts/build-static-deps.sh agent $(AGENT_LIBC)) && echo "AGENT_DEPS := $$dir" >$@
$(DEPS)/lua-$(AGENT_LIBC).mk: scripts/build-static-deps.sh config.mk
	@mkdir -p $(@D)
	$(Q)dir=$$(CC='$(AGENT_CC)' scripts/build-static-deps.sh lua $(AGENT_LIBC)) && echo "LUA_DEPS := $$dir" >$@
$(DEPS)/libssh2.mk: scripts/build-static-deps.sh config.mk
	@mkdir -p $(@D)
	$(Q)dir=$$(CC='$(CC)' scripts/build-static-deps.sh libssh2) && echo "SSH2_DEPS := $$dir" >$@
endif
# The cache may have been emptied since.
ifneq ($(AGENT_DEPS),)
ifeq ($(wildcard $(AGENT_DEPS)/VERSIONS),)
$(DEPS)/agent-$(AGENT_LIBC).mk: FORCE
endif
endif
ifneq ($(LUA_DEPS),)
ifeq ($(wildcard $(LUA_DEPS)/VERSIONS),)
$(DEPS)/lua-$(AGENT_LIBC).mk: FORCE
endif
endif
ifneq ($(SSH2_DEPS),)
ifeq ($(wildcard $(SSH2_DEPS)/VERSIONS),)
$(DEPS)/libssh2.mk: FORCE
endif
endif
ifeq ($(SSH2),built)
SSH2_LIB := $(SSH2_DEPS)/lib/libssh2.a
SSH2_INC := -isystem $(SSH2_DEPS)/include
endif

# ---- flags -------------------------------------------------------------------------------------

WARN   := -std=c11 -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes $(WERROR)
# config.h holds the version and folders; every file sees it.
COMMON := -D_GNU_SOURCE -I. -I$(GEN) -include $(GEN)/config.h -ffile-prefix-map=$(CURDIR)=.

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
ifeq ($(VARIANT),asan)
CFLAGS += -O1 -g $(SANITIZE)
endif
# Unoptimised reads of uninitialised bytes are easier to follow; valgrind needs no fortification.
ifeq ($(VARIANT),valgrind)
CFLAGS += -O1 -g
endif

HOST_CFLAGS = $(CPPFLAGS) $(CFLAGS) $(WARN) $(COMMON) $(SSH2_INC) -fPIC -pthread
HOST_LIBS   = $(SSH2_LIBS) $(LIBS) -pthread
# What may call Lua; the library itself may not.
$(OBJ)/host/peer/% $(OBJ)/host/agent/worker/% $(OBJ)/host/launcher/lua/% \
    $(OBJ)/host/launcher/cli/% $(OBJ)/host/tests/%: HOST_CFLAGS += $(LUA_INC)

ifeq ($(VARIANT),)
AGENT_SMALL  := $(if $(AGENT_DEPS),$(file <$(AGENT_DEPS)/FLAGS))
AGENT_CFLAGS  = $(AGENT_SMALL) -fstack-protector-strong $(WARN) $(COMMON) -DGRAPNEL_AGENT -isystem $(AGENT_DEPS)/include
# Sorted, what is alike lies together: half a percent of what is packed.
AGENT_LDFLAGS = -static -s -Wl,--gc-sections -Wl,--sort-section=alignment -Wl,--build-id=none \
                -Wl,-z,noexecstack -L$(AGENT_DEPS)/lib
AGENT_LIBS    = -lev -lcbor -lz -lsodium -lm
WORKER_INC    = -isystem $(LUA_DEPS)/include
WORKER_LIBS   = -L$(LUA_DEPS)/lib -llua $(AGENT_LIBS)
PACK          = zopfli -c
else
AGENT_CC      = $(CC)
AGENT_CFLAGS  = $(CFLAGS) $(CPPFLAGS) $(WARN) $(COMMON) -DGRAPNEL_AGENT
AGENT_LDFLAGS = $(CFLAGS) $(LDFLAGS)
AGENT_LIBS    = $(LIBS)
WORKER_INC    = $(LUA_INC)
# A worker goes out in one frame, which the lines of its code would not fit into.
WORKER_LIBS   = $(LUA_LIBS) $(LIBS) -Wl,--strip-debug
PACK          = gzip -9nc
endif

# ---- sources -----------------------------------------------------------------------------------

PROTO_SRC    := $(wildcard proto/*.c)
PEER_SRC     := $(wildcard peer/*.c)
AGENT_SRC    := $(wildcard agent/*.c)
WORKER_SRC   := $(wildcard agent/worker/*.c)
MODULE_SRC   := $(wildcard launcher/lua/*.c)
CLI_SRC      := $(wildcard launcher/cli/*.c launcher/cli/*/*.c)
LAUNCHER_SRC := $(filter-out $(MODULE_SRC) $(CLI_SRC),$(wildcard launcher/*.c launcher/*/*.c))
# For its own program only: main(), and what stands in for a file elsewhere: the worker's for one in
# proto/, the command's for the one in launcher/ssh/.
OWN_SRC      := $(filter %/main.c agent/worker/deflate.c launcher/cli/transport_ssh2.c, \
                $(AGENT_SRC) $(WORKER_SRC) $(CLI_SRC))
LUA_SRC      := $(wildcard peer/*.lua agent/worker/*.lua launcher/*/*.lua)

host = $(patsubst %.c,$(OBJ)/host/%.o,$1)
far  = $(patsubst %.c,$(OBJ)/agent/%.o,$1)
LIB_OBJ    := $(call host,$(PROTO_SRC) $(LAUNCHER_SRC))
PEER_OBJ   := $(call host,$(PEER_SRC))
MODULE_OBJ := $(call host,$(MODULE_SRC))
CLI_OBJ    := $(call host,$(CLI_SRC))
AGENT_OBJ  := $(call far,$(PROTO_SRC) $(AGENT_SRC))
WORKER_OBJ := $(call far,$(filter-out proto/deflate.c,$(PROTO_SRC)) $(PEER_SRC) $(WORKER_SRC))

GRAPNEL := $(BUILD)/grapnel
LIB_A   := $(BUILD)/libgrapnel.a
LIB_SO  := $(BUILD)/libgrapnel.so
SONAME  := libgrapnel.so.0
MODULE  := $(BUILD)/lua/grapnel.so
SSH2_SO := $(BUILD)/ssh2.so
AGENT   := $(BUILD)/agents/$(OS_ARCH)
WORKER  := $(BUILD)/workers/$(OS_ARCH)

all: $(GRAPNEL) $(SSH2_SO) $(LIB_A) $(LIB_SO) $(MODULE) $(AGENT) $(AGENT).gz $(WORKER) $(WORKER).gz ## build everything
agent: $(AGENT) $(AGENT).gz ## build the agent only
worker: $(WORKER) $(WORKER).gz ## build the worker only
.PHONY: all agent worker FORCE
FORCE:

# ---- generated headers -------------------------------------------------------------------------

# Replaces a file by its .new only where they differ, so that nothing is rebuilt for nothing.
keep = @if cmp -s $1.new $1; then rm -f $1.new; else mv $1.new $1; fi

# Compared each time: `make prefix=...` changes what is compiled in.
$(GEN)/config.h: FORCE
	@mkdir -p $(@D)
	@printf '#define GRAPNEL_%s\n' 'VERSION "$(VERSION)"' 'OS_ARCH "$(OS_ARCH)"' \
	    'LIBEXECDIR "$(libexecdir)/grapnel"' 'LIBEDIT "$(LIBEDIT)"' >$@.new
	$(call keep,$@)

# One line for each agent, and for each worker, found, also those that were built elsewhere and put
# there: name, bytes raw and gzipped, BLAKE2b-256 of both.  The folder itself changes when one is
# taken away.
MANIFESTS := $(GEN)/agents_manifest.h $(GEN)/workers_manifest.h
$(GEN)/agents_manifest.stamp: $(AGENT) $(AGENT).gz $(wildcard $(BUILD)/agents $(BUILD)/agents/*)
$(GEN)/workers_manifest.stamp: $(WORKER) $(WORKER).gz $(wildcard $(BUILD)/workers $(BUILD)/workers/*)
$(GEN)/%_manifest.stamp: scripts/agents-manifest.sh
	@mkdir -p $(@D)
	$(call say,GEN,$(@:.stamp=.h))
	@scripts/agents-manifest.sh $(BUILD)/$* >$(@:.stamp=.h.new)
	$(call keep,$(@:.stamp=.h))
	@touch $@
$(MANIFESTS): %.h: %.stamp ;

# foo.lua becomes lua_foo.h, with lua_foo[] and lua_foo_size; no two may have the same name.
LUA_GEN := $(patsubst %.lua,$(GEN)/lua_%.h,$(notdir $(LUA_SRC)))
define embed
$(GEN)/lua_$(notdir $(1:.lua=.h)): $1 scripts/embed-lua.sh
	@mkdir -p $$(@D)
	$$(call say,GEN,$$@)
	@scripts/embed-lua.sh $$< >$$@.new && mv $$@.new $$@
endef
$(foreach f,$(LUA_SRC),$(eval $(call embed,$f)))

# ---- compilation -------------------------------------------------------------------------------

$(OBJ)/host/%.o: %.c $(GEN)/config.h
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(HOST_CFLAGS) -MMD -MP -c $< -o $@

$(OBJ)/agent/peer/% $(OBJ)/agent/agent/worker/%: AGENT_CFLAGS += $(WORKER_INC)
$(OBJ)/agent/%.o: %.c $(GEN)/config.h
	@mkdir -p $(@D)
	$(call say,CC,$< (agent))
	$(Q)$(AGENT_CC) $(AGENT_CFLAGS) -MMD -MP -c $< -o $@

# The launcher's table of agents is the only reader of the manifests.
$(call host,launcher/bootstrap/agents.c): | $(MANIFESTS)
$(LIB_OBJ) $(call host,$(PEER_SRC) $(WORKER_SRC) $(MODULE_SRC) $(CLI_SRC)) $(WORKER_OBJ): | $(LUA_GEN)

# A change of flags or of static libraries rebuilds all.
ifeq ($(VARIANT),)
$(AGENT_OBJ) $(WORKER_OBJ): $(DEPS)/agent-$(AGENT_LIBC).mk
$(WORKER_OBJ): $(DEPS)/lua-$(AGENT_LIBC).mk
endif
$(LIB_OBJ) $(PEER_OBJ) $(MODULE_OBJ) $(CLI_OBJ) $(AGENT_OBJ) $(WORKER_OBJ): Makefile config.mk

# ---- what is shipped ---------------------------------------------------------------------------

$(AGENT): $(AGENT_OBJ)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(AGENT_CC) $(AGENT_LDFLAGS) $(AGENT_OBJ) $(AGENT_LIBS) -o $@

# What the agent has for its own work, the worker may use: what it names is taken, as from a library.
WORKER_MORE := $(BUILD)/obj/agent/libmore.a
$(WORKER_MORE): $(call far,$(filter-out $(OWN_SRC),$(AGENT_SRC)))
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) Dcr $@ $^

$(WORKER): $(WORKER_OBJ) $(WORKER_MORE)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(AGENT_CC) $(AGENT_LDFLAGS) $(WORKER_OBJ) $(WORKER_MORE) $(WORKER_LIBS) -o $@

$(AGENT).gz $(WORKER).gz: %.gz: %
	$(call say,GZIP,$@)
	$(Q)$(PACK) $< >$@
	$(Q)gzip -dc $@ | cmp - $<

# libssh2, where it was built here, becomes part of the archive: users need not find it. One of its
# files is left out where ours takes its place, since a linker would take whichever it meets first.
$(LIB_A): $(LIB_OBJ) $(SSH2_LIB)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) Dcr $@ $(LIB_OBJ)
ifneq ($(SSH2_LIB),)
	$(Q)printf '%s\n' 'OPEN $@' 'ADDLIB $(SSH2_LIB)' SAVE END | $(AR) -M
	$(Q)! nm $(call host,launcher/ssh/ssh2_chacha.c) | grep -q 'T chachapoly_crypt' || \
	    $(AR) Dd $@ cipher-chachapoly.o
endif

# A thread that asks the name service may outlive all that is freed, so the code stays when the
# library is closed (-z nodelete), as Lua does with modules.
$(LIB_SO): $(LIB_OBJ) $(SSH2_LIB)
	$(call say,LD,$@)
	@echo '{ global: grapnel_*; local: *; };' >$(GEN)/libgrapnel.map
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,-z,nodelete -Wl,--as-needed \
	    -Wl,--version-script=$(GEN)/libgrapnel.map $(LIB_OBJ) $(SSH2_LIB) $(HOST_LIBS) -o $@
	@ln -sf $(@F) $(BUILD)/$(SONAME)

# A module for any Lua 5.4: it takes Lua from the program that loads it, and shows one name.
$(MODULE): $(MODULE_OBJ) $(PEER_OBJ) $(LIB_A)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	@echo '{ global: luaopen_grapnel; local: *; };' >$(GEN)/module.map
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-z,nodelete -Wl,--as-needed \
	    -Wl,--version-script=$(GEN)/module.map \
	    $(MODULE_OBJ) $(PEER_OBJ) $(LIB_A) $(HOST_LIBS) -o $@

# SSH in process, for the command to load: what that needs of the library, and what it calls by name.
$(SSH2_SO): $(LIB_A)
	$(call say,LD,$@)
	@echo '{ global: transport_ssh2; transport_ssh2_*; local: *; };' >$(GEN)/ssh2.map
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,--as-needed -Wl,--version-script=$(GEN)/ssh2.map \
	    $(call host,launcher/ssh/transport_ssh2.c) $(LIB_A) $(HOST_LIBS) -o $@

# The command has a file of its own for launcher/ssh/transport_ssh2.c, so the library's is not taken,
# and nothing of what only that one needs.
$(GRAPNEL): $(CLI_OBJ) $(MODULE_OBJ) $(PEER_OBJ) $(LIB_A) | $(SSH2_SO)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--as-needed $(CLI_OBJ) $(MODULE_OBJ) $(PEER_OBJ) $(LIB_A) \
	    $(LUA_LIBS) $(HOST_LIBS) -o $@

# ---- tests -------------------------------------------------------------------------------------

TEST_SRC   := $(wildcard tests/unit/test_*.c tests/agent/test_*.c)
TEST_HELP  := $(filter-out $(TEST_SRC),$(wildcard tests/unit/*.c tests/agent/*.c))
TEST_BIN   := $(TEST_SRC:%.c=$(BUILD)/%)
TOOL_SRC   := $(wildcard tests/tools/*.c)
TOOL_BIN   := $(TOOL_SRC:%.c=$(BUILD)/%)
BENCH_SRC  := $(wildcard tests/bench/*.c)
BENCH_BIN  := $(BENCH_SRC:%.c=$(BUILD)/%)
BATS       := $(wildcard tests/*/*.bats)
# What a test may link besides the library: the files of the agent, the worker, the Lua module and
# the command but for main() and the like.
TEST_LIB   := $(BUILD)/tests/libtest.a
TEST_OBJ   := $(call host,$(PEER_SRC) $(MODULE_SRC) \
              $(filter-out $(OWN_SRC),$(AGENT_SRC) $(WORKER_SRC) $(CLI_SRC)) $(TEST_HELP))
TEST_LIBS   = -Wl,--as-needed $(LUA_LIBS) $(HOST_LIBS)
CHECK_LIBS := -lcheck -lsubunit -lrt

TEST_PATHS := -DAGENT_PATH='"$(abspath $(AGENT))"' -DWORKER_PATH='"$(abspath $(WORKER))"'
$(call host,$(TEST_SRC) $(TEST_HELP) $(TOOL_SRC) $(BENCH_SRC)): HOST_CFLAGS += $(TEST_PATHS)

$(TEST_LIB): $(TEST_OBJ)
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) Dcr $@ $(TEST_OBJ)

$(TEST_BIN): $(BUILD)/%: $(OBJ)/host/%.o $(TEST_LIB) $(LIB_A)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $< $(TEST_LIB) $(LIB_A) $(CHECK_LIBS) $(TEST_LIBS) -o $@

$(TOOL_BIN): $(BUILD)/%: $(OBJ)/host/%.o $(TEST_LIB) $(LIB_A)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $< $(TEST_LIB) $(LIB_A) $(TEST_LIBS) -o $@

# bare_* show libssh2 as it is: they get nothing of ours.
$(BENCH_BIN): $(BUILD)/%: $(OBJ)/host/%.o $(LIB_A)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $< $(if $(findstring /bare_,$@),$(SSH2_LIB),$(LIB_A)) \
	    $(HOST_LIBS) -o $@

# As users compile theirs: the public header, and the library.
EXAMPLE_BIN := $(patsubst %.c,$(BUILD)/%,$(wildcard examples/*.c))
$(EXAMPLE_BIN): $(BUILD)/%: %.c launcher/grapnel.h $(LIB_A)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(WARN) -std=c11 -D_POSIX_C_SOURCE=200809L -Ilauncher $(LDFLAGS) \
	    $< $(LIB_A) $(HOST_LIBS) -o $@

examples: $(EXAMPLE_BIN) ## build the examples

tests: $(TEST_BIN) $(TOOL_BIN) $(EXAMPLE_BIN) ## build the test programs

JOBS     ?= 2
TEST_ENV  = BUILD='$(abspath $(BUILD))' GRAPNEL='$(abspath $(GRAPNEL))' \
            GRAPNEL_AGENT='$(abspath $(AGENT))' GRAPNEL_WORKER='$(abspath $(WORKER))' \
            GRAPNEL_VARIANT='$(VARIANT)'
PROVE     = $(TEST_ENV) prove -j$(JOBS) --merge --exec tests/run.sh

check: check-deps all tests $(if $(VARIANT),,fuzz-build) ## run every test
	$(PROVE) $(TEST_BIN) $(BATS) $(if $(VARIANT),,$(FUZZ_BIN)) </dev/null

check-deps:
	@scripts/install-deps.sh build test

asan: ## build and test with AddressSanitizer and UBSan, in build/asan
	@scripts/install-deps.sh build test
	@ASAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=print_stacktrace=1 CK_TIMEOUT_MULTIPLIER=5 \
	    $(MAKE) VARIANT=asan check

valgrind: ## run the unit and agent tests under valgrind, in build/valgrind
	@scripts/install-deps.sh build test valgrind
	@$(MAKE) VARIANT=valgrind check-valgrind

check-valgrind: all tests
	GRAPNEL_VALGRIND=1 CK_TIMEOUT_MULTIPLIER=20 $(PROVE) $(TEST_BIN) </dev/null

check-reproducible: ## build agent, worker and their libraries twice and compare the bytes
	@scripts/check-reproducible.sh
.PHONY: examples tests check check-deps asan valgrind check-valgrind check-reproducible

# ---- fuzzing (clang's libFuzzer) ---------------------------------------------------------------

FUZZ_SRC     := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_HELP    := $(filter-out $(FUZZ_SRC),$(wildcard tests/fuzz/*.c))
FUZZ_BIN     := $(FUZZ_SRC:tests/fuzz/%.c=build/fuzz/%)
FUZZ_OBJ     := build/fuzz/obj
FUZZ_LIB     := build/fuzz/libfuzzed.a
FUZZ_CC      ?= clang
FUZZ_SECONDS ?= 60
FUZZ_CFLAGS   = -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
                $(CPPFLAGS) $(WARN) $(COMMON) $(SSH2_INC) $(LUA_INC) -pthread -DFUZZING
FUZZ_LIB_OBJ := $(patsubst %.c,$(FUZZ_OBJ)/%.o,$(PROTO_SRC) $(PEER_SRC) $(LAUNCHER_SRC) $(MODULE_SRC) \
                $(filter-out $(OWN_SRC),$(AGENT_SRC) $(WORKER_SRC) $(CLI_SRC)) $(FUZZ_HELP))

$(FUZZ_OBJ)/%.o: %.c Makefile config.mk $(GEN)/config.h
	@mkdir -p $(@D)
	$(call say,CC,$< (fuzz))
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -MMD -MP -c $< -o $@

$(FUZZ_OBJ)/launcher/bootstrap/agents.o: | $(MANIFESTS)
$(FUZZ_LIB_OBJ): | $(LUA_GEN)

$(FUZZ_LIB): $(FUZZ_LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) Dcr $@ $(FUZZ_LIB_OBJ)

$(FUZZ_BIN): build/fuzz/%: $(FUZZ_OBJ)/tests/fuzz/%.o $(FUZZ_LIB) $(SSH2_LIB)
	$(call say,LD,$@)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,address,undefined $< $(FUZZ_LIB) $(SSH2_LIB) $(TEST_LIBS) -o $@

fuzz-build: $(FUZZ_BIN)

fuzz: ## run each fuzzer for FUZZ_SECONDS (60)
	@scripts/install-deps.sh build test
	@$(MAKE) fuzz-build
	FUZZ_SECONDS=$(FUZZ_SECONDS) prove -v -j$(JOBS) --merge --exec tests/run.sh $(FUZZ_BIN) </dev/null
.PHONY: fuzz fuzz-build

# ---- demo, benchmarks --------------------------------------------------------------------------

demo: ## throw an agent onto a throwaway sshd and show it
	@scripts/install-deps.sh build demo
	@$(MAKE) all
	@BUILD='$(abspath $(BUILD))' scripts/demo.sh

bench: ## measure against ssh, side by side; BENCH='cold far' measures only those
	@scripts/install-deps.sh build bench
	@$(MAKE) all bench-build
	@$(TEST_ENV) tests/bench/bench.sh $(BENCH)

bench-build: $(BENCH_BIN) $(BUILD)/tests/tools/badhosts

bench-deps: ## install what bench compares with
	@scripts/install-deps.sh bench
.PHONY: demo bench bench-build bench-deps

# ---- sources: format, lint ---------------------------------------------------------------------

C_DIRS    := $(wildcard examples proto peer agent launcher tests)
C_FILES    = $(shell find $(C_DIRS) -name '*.[ch]' | sort)
LINT_SRC   = $(filter %.c,$(C_FILES))
SHELL_SRC  = $(wildcard scripts/*.sh .ci/run tests/*.sh tests/*/*.sh tests/*/*.bash tests/*/*.bats)

format: ## run clang-format over all C files
	@scripts/install-deps.sh format
	clang-format -i $(C_FILES)

# POSIX: NULL is a pointer, also as an argument of a variadic function.
CPPCHECK := --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr --suppress=varFuncNullUB \
            --suppress=missingIncludeSystem --suppress=unknownMacro

lint: ## clang-tidy, cppcheck and shellcheck; silent when all is well
	@scripts/install-deps.sh build test lint
	@$(MAKE) -s $(GEN)/config.h $(MANIFESTS) $(LUA_GEN)
	@# One file a run: the analyser confuses the variable arguments of several.
	@printf '%s\n' $(LINT_SRC) | xargs -P2 -I@ clang-tidy --quiet --warnings-as-errors='*' @ -- \
	    $(filter-out -Werror,$(HOST_CFLAGS)) -Ilauncher $(LUA_INC) $(TEST_PATHS) 2>&1 | \
	    { ! grep -vE '^[0-9]+ warnings? generated|^Suppressed|^Use -header-filter'; }
	@scripts/gen-protocol-tables.sh --check
	@scripts/gen-module-docs.sh --check
	@cppcheck $(CPPCHECK) -I. -I$(GEN) --include=$(GEN)/config.h -D_GNU_SOURCE $(C_DIRS)
	@shellcheck -x $(SHELL_SRC)
.PHONY: format lint

# ---- installation ------------------------------------------------------------------------------

INSTALL     ?= install
MAN1        := $(wildcard man/*.1)
bashcompdir := $(datarootdir)/bash-completion/completions
zshcompdir  := $(datarootdir)/zsh/site-functions
fishcompdir := $(datarootdir)/fish/vendor_completions.d

install: all ## install to prefix (DESTDIR is honoured)
	$(INSTALL) -d '$(DESTDIR)$(bindir)' '$(DESTDIR)$(libdir)/pkgconfig' '$(DESTDIR)$(includedir)' \
	    '$(DESTDIR)$(libexecdir)/grapnel/workers' '$(DESTDIR)$(luacmoddir)'
	$(INSTALL) -m 755 $(GRAPNEL) '$(DESTDIR)$(bindir)/grapnel'
	$(INSTALL) -m 644 $(SSH2_SO) '$(DESTDIR)$(libexecdir)/grapnel/'
	$(INSTALL) -m 644 $(LIB_A) '$(DESTDIR)$(libdir)/'
	$(INSTALL) -m 755 $(LIB_SO) '$(DESTDIR)$(libdir)/$(SONAME)'
	ln -sf $(SONAME) '$(DESTDIR)$(libdir)/libgrapnel.so'
	$(INSTALL) -m 644 launcher/grapnel.h '$(DESTDIR)$(includedir)/'
	$(INSTALL) -m 755 $(filter-out %.gz,$(wildcard $(BUILD)/agents/*)) '$(DESTDIR)$(libexecdir)/grapnel/'
	$(INSTALL) -m 644 $(wildcard $(BUILD)/agents/*.gz) '$(DESTDIR)$(libexecdir)/grapnel/'
	$(INSTALL) -m 755 $(filter-out %.gz,$(wildcard $(BUILD)/workers/*)) '$(DESTDIR)$(libexecdir)/grapnel/workers/'
	$(INSTALL) -m 644 $(wildcard $(BUILD)/workers/*.gz) '$(DESTDIR)$(libexecdir)/grapnel/workers/'
	$(INSTALL) -m 644 $(MODULE) '$(DESTDIR)$(luacmoddir)/'
	printf '%s\n' 'Name: grapnel' 'Description: SSH-bootstrapped agents' 'Version: $(VERSION)' \
	    'Cflags: -I$(includedir)' 'Libs: -L$(libdir) -lgrapnel' 'Libs.private: $(HOST_LIBS)' \
	    >'$(DESTDIR)$(libdir)/pkgconfig/grapnel.pc'
	set -e; for page in $(MAN1); do \
	    $(INSTALL) -D -m 644 $$page '$(DESTDIR)$(mandir)/man1/'$${page##*/}; done
	$(if $(wildcard completions/grapnel.bash),$(INSTALL) -D -m 644 completions/grapnel.bash '$(DESTDIR)$(bashcompdir)/grapnel')
	$(if $(wildcard completions/_grapnel),$(INSTALL) -D -m 644 completions/_grapnel '$(DESTDIR)$(zshcompdir)/_grapnel')
	$(if $(wildcard completions/grapnel.fish),$(INSTALL) -D -m 644 completions/grapnel.fish '$(DESTDIR)$(fishcompdir)/grapnel.fish')

uninstall: ## remove what install put there
	rm -f '$(DESTDIR)$(bindir)/grapnel' '$(DESTDIR)$(libdir)/libgrapnel.a' \
	    '$(DESTDIR)$(libdir)/$(SONAME)' '$(DESTDIR)$(libdir)/libgrapnel.so' \
	    '$(DESTDIR)$(libdir)/pkgconfig/grapnel.pc' '$(DESTDIR)$(includedir)/grapnel.h' \
	    '$(DESTDIR)$(luacmoddir)/grapnel.so' '$(DESTDIR)$(bashcompdir)/grapnel' '$(DESTDIR)$(zshcompdir)/_grapnel' \
	    '$(DESTDIR)$(fishcompdir)/grapnel.fish' \
	    $(foreach page,$(notdir $(MAN1)),'$(DESTDIR)$(mandir)/man1/$(page)')
	rm -rf '$(DESTDIR)$(libexecdir)/grapnel'

# The tracked files of HEAD and a configure, so that the tarball builds without autoconf and git.
DIST = grapnel-$(VERSION)
dist: configure ## make grapnel-VERSION.tar.gz from HEAD
	git archive --format=tar --prefix=$(DIST)/ --add-file=configure -o $(DIST).tar HEAD
	gzip -9nf $(DIST).tar
	@echo $(DIST).tar.gz
.PHONY: install uninstall dist

# ---- housekeeping ------------------------------------------------------------------------------

clean: ## remove build/
	rm -rf build

distclean: clean ## also remove what configure made (the cache of libraries stays)
	rm -rf config.mk config.log config.status configure configure~ autom4te.cache grapnel-*.tar.gz

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/  \1\t\2/p' Makefile | expand -t 22
.PHONY: clean distclean help

-include $(patsubst %.o,%.d,$(LIB_OBJ) $(PEER_OBJ) $(MODULE_OBJ) $(CLI_OBJ) $(AGENT_OBJ) $(WORKER_OBJ))
-include $(FUZZ_LIB_OBJ:.o=.d) $(TEST_OBJ:.o=.d)
-include $(patsubst %.c,$(OBJ)/host/%.d,$(TEST_SRC) $(TOOL_SRC) $(BENCH_SRC))
-include $(patsubst %.c,$(FUZZ_OBJ)/%.d,$(FUZZ_SRC))
