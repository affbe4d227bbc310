# The two promises of the README. Everything else is `cargo` or `ghostlight`.

export PATH := $(PATH):$(HOME)/.cargo/bin

# Both clouds on this machine, and a visitor's front door on http://localhost:8080. Ctrl-C ends it.
.PHONY: up
up:
	scripts/setup
	cargo build --workspace --bins
	@exec "$$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/ghostlight" up

# Everything that must be true before a change lands. The last lines of each runner say what ran.
.PHONY: test
test:
	scripts/setup --test
	$(MAKE) --no-print-directory e2e/node_modules/.package-lock.json e2e/.venv/.installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo run -q -p xtask -- tidy
	cargo run -q -p xtask -- licences
	cargo build --workspace --bins
	cargo test --workspace --exclude sim
# In the profile that everything else is built in: the same code, and overflow checks and debug assertions besides. `cargo
# test -p sim --release` proves no more, and would compile every dependency a second time: 4 to 5 minutes on two cores.
	cargo test -p sim
	scripts/end-to-end

# The end-to-end tests' two libraries, as the lock file has them.
e2e/node_modules/.package-lock.json: e2e/package-lock.json
	cd e2e && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

# What the tests use of Python, as the file has it, in an environment of its own.
e2e/.venv/.installed: e2e/requirements.txt
	python3 -m venv --clear e2e/.venv
	e2e/.venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@
