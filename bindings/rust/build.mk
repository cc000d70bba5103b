# SPDX-License-Identifier: GPL-2.0
# The Rust crates: their tests on the host, with the library and a fake KVM; their examples,
# static, against the installed library; their source for a directory registry of cargo.

RUST := bindings/rust
RUST_SOURCES := $(wildcard $(addprefix $(RUST)/,*.toml *.lock */*.rs */*/*.rs sys/*))
RUST_EXAMPLES := $(patsubst $(RUST)/examples/%.rs,$(O)/rust/examples/%,$(wildcard $(RUST)/examples/*.rs))
RUST_CRATES := gmem-$(LIB_VERSION) gmem-sys-$(LIB_VERSION)
# Debian's compiler, without a user's own before it in PATH, and without the
# network.
CARGO := env PATH=/usr/bin:/bin CARGO_HOME=$(O)/rust/home CARGO_TERM_COLOR=never cargo
RUST_FLAGS := --locked --offline --manifest-path $(RUST)/Cargo.toml

# The library with its system calls bound to the fake's.
$(O)/rust/fake/libgmem.a: $(LIB_OBJECTS) tests/fake_kvm.c tests/fake_kvm.h $(RUST)/tests/fake_kvm/fake.c $(RUST)/build.mk
	@mkdir -p $(@D)
	$(CC) $(C) $(CFLAGS) -Ilib -Itests $(UAPI) -fPIC -c -o $(@D)/fake_kvm.o tests/fake_kvm.c
	$(CC) $(C) $(CFLAGS) -Ilib -Itests $(UAPI) -fPIC -c -o $(@D)/fake.o $(RUST)/tests/fake_kvm/fake.c
	$(LD) -r $(subst $(comma), ,$(WRAP:-Wl$(comma)%=%)) -o $(@D)/all.o $(LIB_OBJECTS) $(@D)/fake_kvm.o $(@D)/fake.o
	rm -f $@
	$(AR) rcs $@ $(@D)/all.o
	sed 's|@PREFIX@|/nowhere|; s|@LIBDIR@|$(@D)|; s|@VERSION@|$(LIB_VERSION)|' lib/libgmem.pc.in >$(@D)/libgmem.pc
comma := ,

.PHONY: rust-test
rust-test: $(O)/rust/fake/libgmem.a ## test the Rust crates on a fake KVM
	PKG_CONFIG_PATH=$(O)/rust/fake $(CARGO) test --workspace --target-dir $(O)/rust/host $(RUST_FLAGS)
	PKG_CONFIG_PATH=$(O)/rust/fake RUSTDOCFLAGS="-D rustdoc::broken_intra_doc_links" \
		$(CARGO) doc --workspace --no-deps --target-dir $(O)/rust/host $(RUST_FLAGS)

# Newer compilers have newer opinions; only errors count.
.PHONY: rust-lint
rust-lint: $(O)/rust/fake/libgmem.a
	PKG_CONFIG_PATH=$(O)/rust/fake $(CARGO) clippy -q --workspace --all-targets --target-dir $(O)/rust/host \
		$(RUST_FLAGS) -- -D clippy::correctness -D clippy::undocumented_unsafe_blocks

.PHONY: rust-examples
rust-examples: $(RUST_EXAMPLES) ## build the Rust examples, static, for the machine

# With a target, programs that cargo runs here are not static as well.
$(RUST_EXAMPLES) &: $(RUST_SOURCES) $(STAGE)/lib/pkgconfig/libgmem.pc
	PKG_CONFIG_PATH=$(STAGE)/lib/pkgconfig RUSTFLAGS="-C target-feature=+crt-static" \
		$(CARGO) build --examples --release --target x86_64-unknown-linux-gnu \
		--target-dir $(O)/rust/machine $(RUST_FLAGS)
	@mkdir -p $(O)/rust/examples
	cp $(patsubst $(O)/rust/examples/%,$(O)/rust/machine/x86_64-unknown-linux-gnu/release/examples/%,$(RUST_EXAMPLES)) \
		$(O)/rust/examples/

# One of them for arm64 as well: rustc is the host's, with arm64's standard library in the sysroot.
ifeq ($(ARCH),arm64)
RUST_CROSS := -C target-feature=+crt-static -C linker=$(CROSS_COMPILE)gcc --sysroot=$(SYSROOT)

$(O)/rust-arm64/examples/vmm: $(RUST_SOURCES) $(STAGE)/lib/pkgconfig/libgmem.pc
	PKG_CONFIG_PATH=$(STAGE)/lib/pkgconfig RUSTFLAGS="$(RUST_CROSS)" \
		$(CARGO) build --example vmm --release --target aarch64-unknown-linux-gnu \
		--target-dir $(O)/rust-arm64/machine $(RUST_FLAGS)
	@mkdir -p $(@D)
	cp $(O)/rust-arm64/machine/aarch64-unknown-linux-gnu/release/examples/vmm $@

.PHONY: rust-example
rust-example: $(O)/rust-arm64/examples/vmm ## the one that is for arm64, too: ARCH=arm64
endif

# What Debian's librust-*-dev have, each crate in a directory that cargo takes for a registry.
.PHONY: install-rust
install-rust: ## install the source of the crates in PREFIX/share/cargo/registry
	set -e; for crate in $(RUST_CRATES); do \
		from=$(RUST); \
		case $$crate in gmem-sys-*) from=$(RUST)/sys ;; esac; \
		to=$(DESTDIR)$(PREFIX)/share/cargo/registry/$$crate; \
		rm -rf "$$to"; \
		install -d "$$to"; \
		(cd "$$from" && for part in src examples build.rs; do [ ! -e $$part ] || cp -r $$part "$$to/"; done); \
		sed '/^\[workspace\]/,$$d; s/, path = "sys"//' "$$from/Cargo.toml" >"$$to/Cargo.toml"; \
		echo '{"package":null,"files":{}}' >"$$to/.cargo-checksum.json"; \
		chmod -R u=rwX,go=rX "$$to"; \
	done
