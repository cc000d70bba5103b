// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Convert guest memory between private (guest only) and shared (guest and host), with whichever
//! mechanism the kernel has.  For authors of VMMs: libgmem, in Rust.
//!
//! | | |
//! |---|---|
//! | [`probe()`] | what a VM can do |
//! | [`Vm`] | a VM's slots, memories and listeners |
//! | [`Memory`] | pages that are private or shared: created by the library ([`Vm::create()`]), or from files that the VMM has made ([`Vm::adopt()`]) |
//! | [`Mapping`] | the same as the host sees it, whose shared pages may go away at any time |
//! | [`Vm::handle_exit()`] | does what a vCPU's exit asks for |
//! | [`Memory::convert()`], [`Vm::convert()`] | converts at the VMM's request |
//! | [`Listener`] | anything that holds shared memory, and lets go before it becomes private |
//! | [`Iommu`] | devices |
//! | [`Error`] | errno, the step, the address, and what a failure left |
//!
//! ```no_run
//! use gmem::{ConvertOptions, State, VmOptions};
//! # fn create_vm() -> std::os::unix::io::OwnedFd { unimplemented!() }
//!
//! # fn main() -> Result<(), gmem::Error> {
//! // KVM_CREATE_VM with KVM_X86_SW_PROTECTED_VM.
//! let kvm_vm = create_vm();
//! let vm = gmem::Vm::new(&kvm_vm, &VmOptions::new().vm_type(1))?;
//!
//! // 16 MiB, all shared, at guest physical address 4 GiB, as slot 1.
//! let ram = vm.create(16 << 20, State::Shared)?;
//! ram.bind(Some(1), 4 << 30, 0, ram.size(), &Default::default())?;
//! let hva = ram.map(&Default::default())?;
//! hva.write_bytes(0, b"hello")?;
//!
//! // The first page is the guest's now: touching it here would be SIGBUS.
//! vm.convert(4 << 30, 4096, State::Private, &ConvertOptions::new())?;
//! # Ok(())
//! # }
//! ```
//!
//! # In a project
//!
//! With Debian's `librust-gmem-dev` and the configuration of cargo that `libgmem(3)` has, or with the
//! source beside it, in `Cargo.toml`:
//!
//! ```toml
//! [dependencies]
//! gmem = "0.2"                                # or { path = "../gmem/bindings/rust" }
//! ```
//!
//! pkg-config has to find `libgmem.pc`, which `PKG_CONFIG_PATH` helps with: that of `make install` is
//! in `/usr/local/lib/pkgconfig`.  A program that is static, as for a machine without libraries,
//! is built with `RUSTFLAGS="-C target-feature=+crt-static"` and `--target x86_64-unknown-linux-gnu`.
//!
//! # Rules
//!
//! They are those of `<gmem.h>`, which has more details, as do `libgmem(3)`, `libgmem(7)` and the
//! manual page of each function.
//!
//! - Addresses, offsets and sizes are in bytes and multiples of the page size.  A gpa is a guest
//!   physical address, an offset counts from the beginning of a memory.
//! - All functions may be called in any thread, but none in a signal handler.  Requests that touch
//!   the same range (conversions, binding, unbinding, excluding, verifying) are served in the order
//!   in which they came; others run concurrently.  Adding and removing a listener waits for all
//!   earlier requests, and all later ones wait for it.
//! - A [`Listener`], and what [`ConvertOptions::busy()`] takes, is called while others wait.  It
//!   may look up states and cancel.  If it converts, binds, unbinds, excludes, verifies, rebuilds,
//!   drops a memory or a listener, or waits for a thread that does, it waits forever.
//! - A panic in one of these ends the process: it cannot unwind through the library, and if a
//!   listener has not returned, it is unknown what it holds.
//! - Descriptors that are lent to the crate are duplicated, close-on-exec.  Each stays its owner's,
//!   who may close it at any time; the file stays open as long as it is used here.
//! - No conversion, lookup or exit allocates memory.
//! - In a child of `fork()` none of this may be called or dropped.
//!
//! The library itself is found by pkg-config (`libgmem-dev`); [`sys`] has its C interface.  The
//! examples are whole VMMs: `bounce.rs` and `vmm.rs` let the library make memory and slots,
//! `adopt.rs` makes its own, and `vfio.rs` gives its guest a device behind an IOMMU.
#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod convert;
mod error;
mod exit;
mod iommu;
mod listener;
mod lookup;
mod mapping;
mod memory;
mod names;
mod vm;

pub use convert::{Cancel, ConvertOptions, Converted};
pub use error::{Errno, Error};
pub use exit::Exit;
pub use gmem_sys as sys;
pub use iommu::Iommu;
pub use listener::{BatchListener, Listener, ListenerOptions, Listening};
pub use lookup::{Range, Ranges};
pub use mapping::{Mapping, Plain};
pub use memory::{AdoptOptions, BindOptions, MapOptions, Memory, MemoryId};
pub use names::{version, Mechanism, Policy, State, Step};
pub use vm::{page_size, probe, Probe, Vm, VmOptions};
