# The two promises of the README. Everything else is `cargo` or `ghostlight`.

.PHONY: test
test:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace
