# curvekv: see README.md. The variants of the build live side by side under build/.
#
#   make                the curvekv command and libcurvekv        build/release/
#   make test           everything a user may rely on, tested; ends with "N passed, N failed"
#   make demo           the main job, on a node of its own
#   make bench          measured beside bare LMDB, in one run
#   make check-asan     unit and system tests under AddressSanitizer and UBSan
#   make check-tsan     the same under ThreadSanitizer
#   make faults         a cluster under every fault we know, SECONDS (180)
#   make fuzz           every fuzz target, or FUZZ_TARGETS, for FUZZ_SECONDS (30)
#   make lint           clang-format, clang-tidy, cppcheck
#   make install        PREFIX (/usr/local), DESTDIR

VARIANT ?= release
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 30
FUZZ_TARGETS ?=
SECONDS ?= 180
SEED ?=
VERSION = 0.1.0
SOVERSION = 0
B = build/$(VARIANT)

CC_fuzz = clang
CC := $(or $(CC_$(VARIANT)),$(CC))

LIB_PACKAGES = libsodium lmdb sqlite3
PACKAGES = $(LIB_PACKAGES) libzmq jansson hiredis libuv
WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Werror
FLAGS_release = -O2 -g
FLAGS_asan = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan = -O1 -g -fsanitize=thread
FLAGS_fuzz = -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

CPPFLAGS += -I. -D_GNU_SOURCE -DCKV_VERSION='"$(VERSION)"'
CFLAGS += -std=c11 -fPIC -fvisibility=hidden -pthread $(WARNINGS) $(FLAGS_$(VARIANT)) -MMD -MP
LDFLAGS += -pthread $(FLAGS_$(VARIANT))
LDLIBS = $(shell pkg-config --libs $(PACKAGES))
LIB_LDLIBS = $(shell pkg-config --libs $(LIB_PACKAGES))

# What a program links that opens a store or runs a handshake, and what only the node needs.
LIB_SOURCES = $(wildcard core/*.c kv/*.c node/library/*.c)
NODE_SOURCES = $(filter-out $(LIB_SOURCES),$(wildcard node/*.c node/*/*.c)) $(wildcard replication/*.c)
LIB_OBJECTS = $(LIB_SOURCES:%.c=$B/%.o)
NODE_OBJECTS = $(NODE_SOURCES:%.c=$B/%.o)
# Without main, for the tests of the node's parts.
PART_OBJECTS = $(filter-out $B/node/commands/curvekv.o,$(NODE_OBJECTS))

UNIT_TESTS = $(patsubst %.c,$B/%,$(wildcard tests/unit/test_*.c))
FUZZERS = $(patsubst %.c,$B/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCHES = $(patsubst %.c,$B/%,$(wildcard bench/bench_*.c))
EXAMPLES = $(patsubst %.c,$B/%,$(wildcard examples/*.c))

PUBLIC_HEADERS = node/library/curvekv.h
CORE_PUBLIC_HEADERS = core/error.h core/octets.h core/certificate.h core/storage_key.h \
                      core/cluster_key.h core/properties.h core/time.h core/z85.h

.DEFAULT_GOAL = all
.PHONY: all
all: $B/curvekv $B/libcurvekv.a $B/libcurvekv.so $(EXAMPLES)

$B/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$B/libcurvekv.a: $(LIB_OBJECTS)
	@echo "  ar    $@"
	@rm -f $@ && ar rcs $@ $^

$B/libcurvekv.so: $(LIB_OBJECTS)
	@echo "  link  $@"
	@$(CC) -shared -Wl,-soname,libcurvekv.so.$(SOVERSION) -o $B/libcurvekv.so.$(VERSION) $^ $(LDFLAGS) $(LIB_LDLIBS)
	@ln -sf libcurvekv.so.$(VERSION) $B/libcurvekv.so.$(SOVERSION)
	@ln -sf libcurvekv.so.$(SOVERSION) $@

$B/curvekv: $(NODE_OBJECTS) $B/libcurvekv.a
	@echo "  link  $@"
	@$(CC) -o $@ $^ $(LDFLAGS) $(LDLIBS)

$B/tests/unit/%: $B/tests/unit/%.o $(PART_OBJECTS) $B/libcurvekv.a
	@echo "  link  $@"
	@$(CC) -o $@ $^ $(LDFLAGS) $(LDLIBS) -lcmocka

$B/tests/fuzz/%: $B/tests/fuzz/%.o $(PART_OBJECTS) $B/libcurvekv.a
	@echo "  link  $@"
	@$(CC) -fsanitize=fuzzer -o $@ $^ $(LDFLAGS) $(LDLIBS)

$B/bench/%: $B/bench/%.o $(PART_OBJECTS) $B/libcurvekv.a
	@echo "  link  $@"
	@$(CC) -o $@ $^ $(LDFLAGS) $(LDLIBS)

$B/examples/%: examples/%.c $B/libcurvekv.so
	@mkdir -p $(@D)
	@echo "  link  $@"
	@$(CC) -I. -Inode/library $(CFLAGS) -o $@ $< -L$B -lcurvekv -Wl,-rpath,'$$ORIGIN/..' $(LDFLAGS)

.SECONDARY:
-include $(shell find build/$(VARIANT) -name '*.d' 2>/dev/null)

# ---- what a person types ----

.PHONY: packages
packages:
	@.ci/packages

.PHONY: test
test: packages
	@$(MAKE) --no-print-directory VARIANT=release all tests benches
	@tests/run release

.PHONY: check-asan check-tsan
check-asan check-tsan: check-%: packages
	@$(MAKE) --no-print-directory VARIANT=$* all tests
	@tests/run $*

.PHONY: tests
tests: $(UNIT_TESTS) $B/tests/unit/capture_curve

.PHONY: faults
faults: packages
	@$(MAKE) --no-print-directory VARIANT=$(VARIANT) all
	@CURVEKV=$(CURDIR)/$B/curvekv tests/faults/run --variant $(VARIANT) --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

.PHONY: fuzz
fuzz: packages
	@$(MAKE) --no-print-directory VARIANT=fuzz fuzzers
	@tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ_TARGETS)

.PHONY: fuzzers
fuzzers: $(FUZZERS)

.PHONY: demo
demo: packages
	@$(MAKE) --no-print-directory all
	@tests/demo

.PHONY: bench
bench: packages
	@$(MAKE) --no-print-directory VARIANT=release all benches
	@bench/run

.PHONY: benches
benches: $(BENCHES)

SOURCES = $(wildcard core/*.c kv/*.c replication/*.c node/*.c node/*/*.c bench/*.c examples/*.c tests/unit/*.c \
                     tests/fuzz/*.c)
HEADERS = $(wildcard core/*.h kv/*.h replication/*.h node/*.h node/*/*.h bench/*.h tests/unit/*.h tests/fuzz/*.h)

.PHONY: lint
lint: packages
	@clang-format --dry-run --Werror $(SOURCES) $(HEADERS)
	@tests/house
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
	    --suppress=missingIncludeSystem --error-exitcode=1 -I. -D_GNU_SOURCE \
	    -DCKV_VERSION='""' core kv replication node
	@printf '%s\n' $(LIB_SOURCES) $(NODE_SOURCES) | xargs -P 2 -n 1 tests/tidy $(CPPFLAGS) -std=c11

.PHONY: install
install: all
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/lib/pkgconfig" \
	    "$(DESTDIR)$(PREFIX)/include/curvekv/core"
	install $B/curvekv "$(DESTDIR)$(PREFIX)/bin"
	install -m 644 $B/libcurvekv.a "$(DESTDIR)$(PREFIX)/lib"
	install -m 644 $B/libcurvekv.so.$(VERSION) "$(DESTDIR)$(PREFIX)/lib"
	ln -sf libcurvekv.so.$(VERSION) "$(DESTDIR)$(PREFIX)/lib/libcurvekv.so.$(SOVERSION)"
	ln -sf libcurvekv.so.$(SOVERSION) "$(DESTDIR)$(PREFIX)/lib/libcurvekv.so"
	install -m 644 $(PUBLIC_HEADERS) "$(DESTDIR)$(PREFIX)/include/curvekv"
	install -m 644 $(CORE_PUBLIC_HEADERS) "$(DESTDIR)$(PREFIX)/include/curvekv/core"
	printf '%s\n' 'Name: curvekv' \
	    'Description: Replicated key-value cache of CurveZMQ certificates' \
	    'Version: $(VERSION)' 'Requires.private: $(LIB_PACKAGES)' \
	    'Cflags: -I$(PREFIX)/include/curvekv' 'Libs: -L$(PREFIX)/lib -lcurvekv' \
	    > "$(DESTDIR)$(PREFIX)/lib/pkgconfig/curvekv.pc"
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

.PHONY: clean
clean:
	rm -rf build
