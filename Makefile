# Works with GNU make and BSD make: plain POSIX, one shell line per step.
#
#   make venv      the program as .venv/bin/runjail         make test      everything that can be checked here
#   make demo      containers and images, step by step      make lint      style and types only
#   make bench     next to runc, skopeo, umoci, containerd  make clean     remove what the targets above made
#   make install   into PREFIX (/usr/local)                 DESTDIR is honoured
#   make test-fast      unit and property tests, without root, in a minute
#   make test-pythons   the tests under Python 3.11 to 3.15, as far as they can be had
#   make release-check  whether this checkout can be released: docs/release.md
#   make test-vm        what a machine makes a difference to, in a Debian guest with systemd and cgroup v2: .ci/vm/run
#   make vagrant-test   make test in a FreeBSD virtual machine: vagrant/test.sh

PREFIX = /usr/local
DESTDIR =
PYTEST_ARGS =
FAST_TESTS = tests/test_attributes.py tests/test_files.py tests/test_jsonio.py tests/support/test_needs.py tests/test_rootfs.py \
    tests/test_settings.py tests/spec tests/plan tests/host tests/nri tests/shim tests/image/crypto/test_crypto_der.py \
    tests/image/crypto/test_crypto_options.py tests/image/test_model.py tests/image/test_platform.py \
    tests/image/test_references.py tests/image/registry/test_registry_words.py tests/image/bundle/test_users.py
PYTHONS =
# make bench GROWTH="--most 1000000 --plots docs/plots" draws the plots of the documentation
GROWTH = --most 30000
VM_COMMAND =
PYTHON_TESTS = tests/test_jsonio.py tests/test_imports.py tests/ci/test_start.py tests/spec tests/plan tests/host tests/nri \
    tests/cli tests/container tests/image tests/storage tests/shim

all: venv

.PHONY: all setup venv pytest demo test test-fast test-pythons lint bench vagrant-test test-vm release-check install uninstall clean

setup:
	@sh .ci/setup

venv:
	@python=$$(sh .ci/python) && "$$python" .ci/make_venv.py

pytest:
	@python=$$(sh .ci/python) && "$$python" .ci/make_venv.py pytest

demo:
	@sh .ci/setup demo
	@python=$$(sh .ci/python) && "$$python" .ci/make_venv.py program
	@.venv/bin/python tests/demo/demo.py

test: setup pytest
	.venv/bin/python -m pytest $$(.venv/bin/python -m tests.support.side_by_side) $(PYTEST_ARGS)

test-fast: pytest
	.venv/bin/python -m pytest -q $$(.venv/bin/python -m tests.support.side_by_side) -m "not needs and not slow" $(FAST_TESTS)

test-pythons: setup
	@python=$$(sh .ci/python) && "$$python" .ci/test_pythons.py $(PYTHONS) -- -q $(PYTHON_TESTS)

lint: pytest
	.venv/bin/python -m pytest -q tests/test_lint.py tests/test_imports.py

bench: setup venv
	.venv/bin/python tests/bench/bench.py
	.venv/bin/python tests/bench/verbs.py
	.venv/bin/python tests/bench/seccomp.py
	.venv/bin/python tests/bench/layers.py
	.venv/bin/python tests/bench/layers.py --disk
	.venv/bin/python tests/bench/images.py --images small,20,100
	.venv/bin/python tests/bench/images.py --images small,20,100 --disk
	.venv/bin/python tests/bench/growth.py $(GROWTH)
	.venv/bin/python tests/bench/shim.py
	.venv/bin/python tests/bench/pod.py
	.venv/bin/python tests/bench/warm_shim.py

release-check:
	@python=$$(sh .ci/python) && "$$python" .ci/release_check.py

test-vm:
	@sh .ci/vm/run "$(VM_COMMAND)"

vagrant-test:
	@sh vagrant/test.sh

install:
	sh .ci/install "$(DESTDIR)" "$(PREFIX)"

uninstall:
	@sh .ci/release "$(DESTDIR)$(PREFIX)/libexec/runjail/bin"
	rm -rf "$(DESTDIR)$(PREFIX)/lib/runjail" "$(DESTDIR)$(PREFIX)/libexec/runjail"
	rm -f "$(DESTDIR)$(PREFIX)/bin/runjail" "$(DESTDIR)$(PREFIX)/bin/containerd-shim-runjail-v1" \
	    "$(DESTDIR)$(PREFIX)/bin/ctd-decoder" "$(DESTDIR)$(PREFIX)/etc/rc.d/runjail"
	rm -f "$(DESTDIR)$(PREFIX)/share/man/man8/runjail.8" \
	    "$(DESTDIR)$(PREFIX)/share/man/man8/runjail-image.8" \
	    "$(DESTDIR)$(PREFIX)/share/man/man8/runjail-network.8" \
	    "$(DESTDIR)$(PREFIX)/share/man/man8/runjail-volume.8" \
	    "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/runjail" \
	    "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_runjail" \
	    "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/runjail.fish"

clean:
	@for place in .venv .pythons/*/checkout/.venv; do sh .ci/release "$$place/libexec/runjail/bin"; done
	rm -rf .venv .vm .peers .pythons .demo .vagrant-results .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist runjail.egg-info
	find runjail tests .ci -name __pycache__ -type d -prune -exec rm -rf {} +
