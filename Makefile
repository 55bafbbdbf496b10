# Makefile - builds every program beside its source; `make help` lists the rest.
#
# Nothing here is needed to use lsnn: each program is one line of cc, and `make` prints it.
# Features are found by compiling and linking, and each can be overridden:
#     make OMP=1    OpenMP's threads     make ZLIB=0   no .gz files
#     make CBLAS=1  gemm by CBLAS (CBLAS_LIBS=-lopenblas)
#     make MPI=1    several processes train one net: mpirun -n 2 examples/lsnn_mnist ...
#     make CPPFLAGS=-DLSNN_NO_THREADS    one thread

CFLAGS     ?= -O2
WARNINGS   ?= -Wall -Wextra
PREFIX     ?= /usr/local
OMP_FLAGS  ?= -fopenmp
PTHREAD    ?= -pthread
CBLAS_LIBS ?= -lopenblas
MPICC      ?= mpicc
MPI        ?= 0
# mpicc calls $(CC)
COMPILER   := $(if $(filter 1,$(MPI)),OMPI_CC='$(CC)' MPICH_CC='$(CC)' $(MPICC),$(CC))

PROGRAMS := $(patsubst %.c,%,$(wildcard examples/*.c tools/*.c))
BENCHES  := $(patsubst %.c,%,$(wildcard bench/*.c))
SHARED   := lsnn.h $(wildcard examples/*.h)

# ---- What this machine has. Targets that compile nothing do not ask; `make run` asks
# ---- after `make deps` had its turn.
QUICK := help clean deps run install uninstall report cuda-test cuda-bench
ifneq ($(filter-out $(QUICK),$(or $(MAKECMDGOALS),all)),)
HASH := \#
define newline


endef
# $(call try,program text with \n,flags[,compiler]): 1 if it compiles and links, else 0
try = $(shell mkdir -p build && t=build/probe.$$$$ && printf '$(1)' > $$t.c && \
      if $(or $(3),$(CC)) $(CFLAGS) $$t.c -o $$t $(2) >/dev/null 2>&1; then echo 1; else echo 0; fi; \
      rm -f $$t $$t.c)
MAIN := int main(void)
OMP_C   := $(HASH)include <omp.h>\n$(MAIN) { return omp_get_max_threads() < 1; }\n
ZLIB_C  := $(HASH)include <zlib.h>\n$(MAIN) { return !zlibVersion(); }\n
MPI_C   := $(HASH)include <mpi.h>\n$(MAIN) { return MPI_Init(0, 0); }\n
CBLAS_C := $(HASH)include <cblas.h>\n$(MAIN) { return cblas_sgemm == 0; }\n
OMP  ?= 0
ZLIB ?= $(call try,$(ZLIB_C),-lz)
CBLAS ?= 0
ifeq ($(MPI),1)
ifneq ($(call try,$(MPI_C),,$(COMPILER)),1)
$(error MPI=1, but $(MPICC) does not compile: install libopenmpi-dev and openmpi-bin, or set MPICC)
endif
endif
ZLIB := $(ZLIB)
ifeq ($(OMP),1)
ifneq ($(call try,$(OMP_C),$(OMP_FLAGS)),1)
$(error OMP=1, but $(CC) $(OMP_FLAGS) does not link: install it or set OMP_FLAGS)
endif
endif
ifeq ($(CBLAS),1)
ifneq ($(call try,$(CBLAS_C),$(CBLAS_LIBS)),1)
$(error CBLAS=1, but $(CBLAS_LIBS) does not link: install libopenblas-dev or set CBLAS_LIBS)
endif
endif
$(info lsnn: openmp=$(OMP) zlib=$(ZLIB) cblas=$(CBLAS) mpi=$(MPI)   (make ZLIB=0 overrides))
endif

FEATURES := $(if $(filter 1,$(OMP)),$(OMP_FLAGS) -DLSNN_USE_OPENMP,$(PTHREAD)) $(if $(filter 1,$(ZLIB)),-DLSNN_USE_ZLIB) \
            $(if $(filter 1,$(CBLAS)),-DLSNN_USE_CBLAS) $(if $(filter 1,$(MPI)),-DLSNN_USE_MPI)
LIBS     := $(if $(filter 1,$(ZLIB)),-lz) $(if $(filter 1,$(CBLAS)),$(CBLAS_LIBS)) -lm
FEATURES := $(strip $(FEATURES))
LIBS     := $(strip $(LIBS))

.PHONY: all run test test-all bench cuda-test cuda-bench results report deps install uninstall help clean FORCE
all: $(PROGRAMS)

$(PROGRAMS) $(BENCHES): %: %.c $(SHARED) build/flags
	$(COMPILER) $(CFLAGS) $(WARNINGS) $(FEATURES) $(CPPFLAGS) $< -o $@ $(LDFLAGS) $(LIBS) $(DL)

# Changes when the command line does, so that `make OMP=1` after `make` builds again.
build/flags: FORCE
	@mkdir -p build
	@echo "$(COMPILER)"' $(CFLAGS) $(WARNINGS) $(FEATURES) $(CPPFLAGS) $(LDFLAGS) $(LIBS)' > $@.$$$$; \
	 if cmp -s $@.$$$$ $@; then rm -f $@.$$$$; else mv $@.$$$$ $@; fi
FORCE:

# Written in src/, one layer a file; pasted together for those who copy it.
lsnn.h: $(wildcard src/*.h src/*/*.h) tools/assemble.sh tools/names.sh
	@sh tools/names.sh src/api.h > $@.$$$$ && \
	 { cmp -s $@.$$$$ src/names.h || cp $@.$$$$ src/names.h; }; rm -f $@.$$$$
	@sh tools/assemble.sh src/lsnn.h > $@.$$$$ && mv $@.$$$$ $@ || { rm -f $@.$$$$; false; }

# The main job: from a fresh clone to trained nets, a table and figures.
# On all cores, unless make was told on how many.
CORES = $(shell getconf _NPROCESSORS_ONLN 2> /dev/null || echo 1)
run:
	@sh tools/deps.sh || echo "lsnn: going on without the optional packages"
	@$(MAKE) --no-print-directory $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(CORES)) all
	@mnist=$$(sh tools/get_mnist.sh) || mnist=; sh examples/run.sh "$$mnist"

# make test ONLY=net runs the tests whose names contain "net"; PART=rest with test-all leaves
# out what make test runs.
test: TEST_PART = quick
test-all: TEST_PART = $(or $(PART),all)
test test-all:
	@PART='$(TEST_PART)' CC='$(CC)' OMP_FLAGS='$(OMP_FLAGS)' CBLAS_LIBS='$(CBLAS_LIBS)' \
	 TEST_FLAGS='$(filter-out $(OMP_FLAGS) -DLSNN_USE_OPENMP -DLSNN_USE_CBLAS -DLSNN_USE_MPI,$(FEATURES) $(PTHREAD))' \
	 TEST_LIBS='$(filter-out $(CBLAS_LIBS),$(LIBS))' ONLY='$(ONLY)' sh tests/run.sh

# make bench WHAT=train NET=cnn BATCH=64 THREADS=2, and BENCH='--pairs 15 --missing' for the
# other flags; dlopen stands in -ldl before glibc 2.34.
$(BENCHES): DL = -ldl
$(BENCHES): $(wildcard bench/*.h)
ifeq ($(WHAT),busy)
bench:
	@CC='$(CC)' OMP_FLAGS='$(OMP_FLAGS)' sh bench/busy.sh
else
bench: $(BENCHES)
	@./bench/bench $(if $(WHAT),--what $(WHAT)) $(if $(NET),--net $(NET)) \
	 $(if $(BATCH),--batch $(BATCH)) $(if $(THREADS),--threads $(THREADS)) $(BENCH)
endif

# On a machine with an NVIDIA GPU and its toolkit; no network, under eight minutes each.
cuda-test cuda-bench:
	@CC='$(CC)' sh tools/cuda.sh $(@:cuda-%=%)

results: all
	@sh tools/results.sh

# A page of its own: tables, curves, figures, commands (tools/report.sh).
report:
	@mkdir -p out
	@sh tools/report.sh > out/report.$$$$ && mv out/report.$$$$ out/report.html || { rm -f out/report.$$$$; false; }
	@echo 'out/report.html'

deps:
	@sh tools/deps.sh $(if $(PEERS),bench)

# CMakeLists.txt installs the same files (tests/test_install.sh compares). filled: a template of
# packaging/, with what stands between @ filled in.
INSTALLED := include/lsnn.h share/pkgconfig/lsnn.pc share/lsnn/lsnnConfig.cmake \
             share/lsnn/lsnnConfigVersion.cmake share/man/man3/lsnn.3
to        := $(DESTDIR)$(PREFIX)
filled     = sed -e 's|@PREFIX@|$(PREFIX)|' \
             -e "s|@VERSION@|$$(sed -n 's/^.define LSNN_VERSION "\(.*\)"/\1/p' lsnn.h)|" packaging/$(1).in
install:
	install -d $(foreach f,$(INSTALLED),"$(to)/$(dir $f)")
	install -m 644 lsnn.h "$(to)/include/lsnn.h"
	install -m 644 docs/lsnn.3 "$(to)/share/man/man3/lsnn.3"
	install -m 644 packaging/lsnnConfig.cmake "$(to)/share/lsnn/lsnnConfig.cmake"
	$(call filled,lsnn.pc) > "$(to)/share/pkgconfig/lsnn.pc"
	$(call filled,lsnnConfigVersion.cmake) > "$(to)/share/lsnn/lsnnConfigVersion.cmake"
	chmod 644 "$(to)/share/pkgconfig/lsnn.pc" "$(to)/share/lsnn/lsnnConfigVersion.cmake"

uninstall:
	rm -f $(foreach f,$(INSTALLED),"$(to)/$f")
	-rmdir "$(to)/share/lsnn"

clean:
	rm -rf build
	rm -f $(PROGRAMS) $(BENCHES)

help:
	@echo 'make           build every program beside its source'
	@echo 'make lsnn.h    assemble it from src/, where it is written'
	@echo 'make run       get MNIST, train three networks, print the table, draw the figures'
	@echo 'make test      run the tests, a few minutes (ONLY=net: whose names contain "net")'
	@echo 'make test-all  run all of them, half an hour; PART=rest: but those of make test'
	@echo 'make bench     measure speed: NET=cnn WHAT=train|predict|gemm|conv|limit|threads|scale|'
	@echo '               memory|draw|start|busy BATCH=64 THREADS=2 (bench/bench.c, busy.sh)'
	@echo 'make cuda-test, make cuda-bench   the same two on an NVIDIA GPU (docs/cuda.md)'
	@echo 'make results   run the next missing cells of RESULTS.md'
	@echo 'make report    all of that as one HTML page, out/report.html'
	@echo 'make deps      install zlib1g-dev (root or sudo -n), never asks;'
	@echo '               PEERS=1: what bench compares with, too'
	@echo 'make install   lsnn.h, lsnn.pc, a CMake package and a man page under $$(DESTDIR)$$(PREFIX)'
	@echo '               (PREFIX=$(PREFIX)); make uninstall removes them'
	@echo 'make clean     remove what make built; data/ and out/ stay'
	@echo 'Overrides: CC=clang CFLAGS=-O3 OMP=1 ZLIB=0 CBLAS=1 MPI=1'
