// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! The interface of libgmem as `<gmem.h>` declares it.  Use the crate `gmem`; this one is for what
//! that does not have.
//!
//! Names, members and values are those of the header, whose comments explain them, as do
//! `libgmem(3)` and the manual page of each function.  Functions return 0 or a negative errno.  All
//! structs begin with their size: [`Default`] is C's `GMEM_INIT()`, and for [`gmem_convert_opts`]
//! it is `GMEM_CONVERT_OPTS`.
//!
//! Written by hand.  `tests/abi.rs` compares each symbol, prototype, member and value with
//! `lib/libgmem.abi`, which `tests/abi` compares with the header and the library.
#![allow(non_camel_case_types)]
#![deny(missing_docs)]

use std::marker::{PhantomData, PhantomPinned};
use std::mem::{size_of, zeroed};
use std::os::raw::{c_char, c_int, c_uint, c_ulong, c_void};

/// An opaque type: only pointers to it exist here, made by the library or the kernel.
macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident;)*) => { $(
        $(#[$doc])*
        #[repr(C)]
        pub struct $name {
            _bytes: [u8; 0],
            _neither_send_nor_sync: PhantomData<(*mut u8, PhantomPinned)>,
        }
    )* };
}

opaque! {
    /// `struct kvm_run` of `<linux/kvm.h>`: what a vCPU shares with its VMM.
    kvm_run;
    /// A VM as the library knows it: its slots, memories and listeners.
    gmem_vm;
    /// A memory: pages that are private or shared, in one file or two.
    gmem;
    /// A listener of the library's own.
    gmem_iommu;
}

/// What is read after a conversion.
pub type gmem_policy = c_uint;
/// Zeros.
pub const GMEM_ZERO: gmem_policy = 0;
/// What was there.
pub const GMEM_PRESERVE: gmem_policy = 1;
/// Nothing is promised.
pub const GMEM_NONE: gmem_policy = 2;
/// In requests, what guests of the VM's type expect.
pub const GMEM_DEFAULT: gmem_policy = 31;

/// How the kernel converts.
pub type gmem_mechanism = c_uint;
/// This VM has no private memory, or its memory cannot be converted.
pub const GMEM_MECHANISM_NONE: gmem_mechanism = 0;
/// `KVM_SET_MEMORY_ATTRIBUTES`, a file for the private half, another for the shared.
pub const GMEM_TWO_BACKINGS: gmem_mechanism = 1;
/// `KVM_SET_MEMORY_ATTRIBUTES2` on the file, without content policies.
pub const GMEM_IN_PLACE_PLAIN: gmem_mechanism = 2;
/// `KVM_SET_MEMORY_ATTRIBUTES2` with content policies.
pub const GMEM_IN_PLACE: gmem_mechanism = 3;

/// The step at which a conversion failed.
pub type gmem_step = c_uint;
/// Nowhere: it did not fail.
pub const GMEM_STEP_DONE: gmem_step = 0;
/// The request itself, before anything was done.
pub const GMEM_STEP_CHECK: gmem_step = 1;
/// A listener refused.
pub const GMEM_STEP_BEFORE_PRIVATE: gmem_step = 2;
/// Two backings: emptying the other half.
pub const GMEM_STEP_PREPARE: gmem_step = 3;
/// The kernel refused.
pub const GMEM_STEP_CONVERT: gmem_step = 4;
/// Without policies: zeroing, before the kernel converts.
pub const GMEM_STEP_ZERO: gmem_step = 5;
/// A listener refused.
pub const GMEM_STEP_AFTER_SHARED: gmem_step = 6;
/// Waiting for earlier requests.
pub const GMEM_STEP_TURN: gmem_step = 7;

/// The attributes of a shared page.
pub const GMEM_SHARED: u64 = 0;
/// The attributes of a private page, as `KVM_SET_MEMORY_ATTRIBUTES` counts them.
pub const GMEM_PRIVATE: u64 = 8;
/// The guest physical address of a part of a memory that is not bound.
pub const GMEM_NO_GPA: u64 = u64::MAX;
/// Of [`gmem_listener`]: tell it of everything that is bound and shared, and of nothing else.
pub const GMEM_LISTENER_REPLAY: u64 = 1;
/// Of [`gmem_listener`]: it lets go of ranges in which it does not hold every page.
pub const GMEM_LISTENER_GAPS: u64 = 2;
/// Of [`gmem_adopt_opts`]: take the states from the kernel.
pub const GMEM_ASK_KERNEL: u32 = 1;
/// Of [`gmem_bind_opts`]: KVM's slot is the caller's.
pub const GMEM_NO_SLOT: u32 = 1;
/// Of [`gmem_convert_opts`]: on failure, leave what has been converted so far.
pub const GMEM_NO_UNDO: u32 = 1;
/// Of [`gmem_convert_opts`]: with two backings, keep the pages of the other half.
pub const GMEM_NO_DISCARD: u32 = 2;

/// C's structs, for which [`Default`] sets the size, and 0 for the rest.
macro_rules! structs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            /// `size_of::<Self>()`.
            pub struct_size: usize,
            $($(#[$member_doc])* pub $member: $type,)*
        }

        impl $name {
            fn of_zeros() -> Self {
                // SAFETY: integers, bools, raw pointers and Option<fn>, all of which may be 0.
                let zeros: Self = unsafe { zeroed() };
                Self { struct_size: size_of::<Self>(), ..zeros }
            }
        }
    )* };
}

/// The size, and 0 for the rest.
macro_rules! defaults {
    ($($name:ident)*) => { $(
        impl Default for $name {
            fn default() -> Self {
                Self::of_zeros()
            }
        }
    )* };
}

structs! {
    /// What a VM can do: see `gmem_probe(3)`.
    gmem_probe {
        /// What `gmem_vm_init()` will use.
        mechanism: gmem_mechanism,
        /// Bit `1 << mechanism` for each available one.
        mechanisms: u32,
        /// The attributes that can be set: [`GMEM_PRIVATE`] or 0.
        attributes: u64,
        /// Bit `1 << policy` for each that the mechanism offers to shared.
        to_shared: u32,
        /// The same to private.
        to_private: u32,
        /// A range of guest physical addresses is converted as a whole or not at all.
        is_atomic: bool,
    }

    /// For [`gmem_vm_init`].
    gmem_vm_opts {
        /// As given to `KVM_CREATE_VM`.
        vm_type: c_ulong,
        /// [`GMEM_MECHANISM_NONE`]: the best one.
        mechanism: gmem_mechanism,
    }

    /// For [`gmem_create`].
    gmem_create_opts {
        /// Of all pages at first.
        attributes: u64,
    }

    /// For [`gmem_adopt`].
    gmem_adopt_opts {
        /// Where the whole memory is mapped, or NULL.
        hva: *mut c_void,
        /// Two backings: the offset in the shared file at which the memory begins.
        shared_offset: u64,
        /// A bit for each page, set if it is private; NULL: all have `attributes`.
        private_pages: *const u64,
        /// Of all pages.
        attributes: u64,
        /// [`GMEM_ASK_KERNEL`].
        flags: u32,
    }

    /// For [`gmem_map`].
    gmem_map_opts {
        /// As for `mmap()`.
        address: *mut c_void,
        /// Besides `MAP_SHARED` and `MAP_NORESERVE`.
        mmap_flags: c_int,
    }

    /// For [`gmem_bind`], [`gmem_exclude`] and [`gmem_unbind`].
    gmem_bind_opts {
        /// [`GMEM_NO_SLOT`].
        flags: u32,
        /// Of KVM's slot, besides `KVM_MEM_GUEST_MEMFD`.
        slot_flags: u32,
        /// How long to wait; 0: as long as it takes.
        timeout_ms: u32,
        /// NULL, or what [`gmem_cancel`] sets.
        cancel: *const u32,
    }

    /// A part of a memory, all of it bound in one piece or not at all.
    gmem_range {
        /// The memory.
        gmem: *mut gmem,
        /// In the memory.
        offset: u64,
        /// In bytes.
        size: u64,
        /// Where it is bound, or [`GMEM_NO_GPA`].
        gpa: u64,
        /// For a listener: the old ones.
        attributes: u64,
    }

    /// For [`gmem_add_listener`].
    gmem_listener {
        /// Let go of a range; 0, or a negative errno to refuse.
        before_private: Option<unsafe extern "C" fn(listener: *mut gmem_listener, range: *const gmem_range) -> c_int>,
        /// A range may be held; 0, or a negative errno to refuse.
        after_shared: Option<unsafe extern "C" fn(listener: *mut gmem_listener, range: *const gmem_range) -> c_int>,
        /// The caller's.
        arg: *mut c_void,
        /// [`GMEM_LISTENER_REPLAY`], [`GMEM_LISTENER_GAPS`].
        flags: u64,
        /// What the ranges that follow become.
        begin: Option<unsafe extern "C" fn(listener: *mut gmem_listener, attributes: u64) -> c_int>,
        /// There are no more.
        commit: Option<unsafe extern "C" fn(listener: *mut gmem_listener) -> c_int>,
    }

    /// For [`gmem_add_iommu`].
    gmem_iommu_opts {
        /// An iommufd, or a VFIO container.
        fd: c_int,
        /// Of the iommufd; 0 for a container.
        ioas_id: u32,
    }

    /// For conversions.
    gmem_convert_opts {
        /// What the host reads afterwards.
        to_shared: gmem_policy,
        /// What the guest reads afterwards.
        to_private: gmem_policy,
        /// [`GMEM_NO_UNDO`], [`GMEM_NO_DISCARD`].
        flags: u32,
        /// How long the call waits in total; 0: a page that is held is not tried again.
        timeout_ms: u32,
        /// Called before each new attempt: 0, or a negative errno to give up and return.
        busy: Option<unsafe extern "C" fn(arg: *mut c_void, where_: u64, attempts: c_uint) -> c_int>,
        /// For `busy`.
        arg: *mut c_void,
        /// NULL, or what [`gmem_cancel`] sets.
        cancel: *const u32,
    }

    /// How a conversion ended.
    gmem_result {
        /// Where it failed.
        step: gmem_step,
        /// C's `where`: the lowest address that refused, as the request counts it.
        where_: u64,
        /// System calls that ended with `EAGAIN`.
        attempts: c_uint,
        /// From where on pages may have stayed converted.
        left: u64,
        /// How many bytes of them; 0: none.
        left_size: u64,
        /// The first error of the undo.
        undo_error: c_int,
        /// Undone, but all or some of the contents are gone.
        contents_lost: bool,
        /// Two backings: bytes whose other half could not be given back.
        undiscarded: u64,
    }
}

defaults! {
    gmem_probe gmem_vm_opts gmem_create_opts gmem_adopt_opts gmem_map_opts gmem_bind_opts gmem_range
    gmem_listener gmem_iommu_opts gmem_result
}

impl Default for gmem_convert_opts {
    /// `GMEM_DEFAULT` both ways, which every mechanism has.
    fn default() -> Self {
        Self { to_shared: GMEM_DEFAULT, to_private: GMEM_DEFAULT, ..Self::of_zeros() }
    }
}

extern "C" {
    /// Find out what a VM can do, by trying.
    pub fn gmem_probe(
        vm_fd: c_int,
        vm_type: c_ulong,
        use_: gmem_mechanism,
        probe: *mut gmem_probe,
    ) -> c_int;

    /// Set up a VM.
    pub fn gmem_vm_init(vm_fd: c_int, opts: *const gmem_vm_opts, vm: *mut *mut gmem_vm) -> c_int;
    /// Forget a VM, whose memories have been destroyed and whose IOMMUs removed.
    pub fn gmem_vm_exit(vm: *mut gmem_vm);
    /// What `gmem_probe()` found.
    pub fn gmem_vm_probe(vm: *const gmem_vm) -> *const gmem_probe;

    /// Make a memory.
    pub fn gmem_create(
        vm: *mut gmem_vm,
        size: u64,
        opts: *const gmem_create_opts,
        gmem: *mut *mut gmem,
    ) -> c_int;
    /// Make a memory from files that stay the caller's.
    pub fn gmem_adopt(
        vm: *mut gmem_vm,
        size: u64,
        private_fd: c_int,
        shared_fd: c_int,
        opts: *const gmem_adopt_opts,
        gmem: *mut *mut gmem,
    ) -> c_int;
    /// Unbind, unmap and close it.
    pub fn gmem_destroy(gmem: *mut gmem);
    /// In bytes.
    pub fn gmem_size(gmem: *const gmem) -> u64;
    /// The file that has the shared pages, or -1.
    pub fn gmem_shared_fd(gmem: *const gmem) -> c_int;
    /// The file that has the private pages.
    pub fn gmem_private_fd(gmem: *const gmem) -> c_int;
    /// Map it for the host.
    pub fn gmem_map(gmem: *mut gmem, opts: *const gmem_map_opts, hva: *mut *mut c_void) -> c_int;

    /// Place it in the guest at `gpa`.
    pub fn gmem_bind(
        gmem: *mut gmem,
        slot: u32,
        gpa: u64,
        offset: u64,
        size: u64,
        opts: *const gmem_bind_opts,
    ) -> c_int;
    /// Mark a range as existing but not convertible.
    pub fn gmem_exclude(
        vm: *mut gmem_vm,
        gpa: u64,
        size: u64,
        opts: *const gmem_bind_opts,
    ) -> c_int;
    /// Undo `gmem_bind()` or `gmem_exclude()`.
    pub fn gmem_unbind(vm: *mut gmem_vm, gpa: u64, opts: *const gmem_bind_opts) -> c_int;

    /// Tell it of conversions; it must stay in place until it is removed.
    pub fn gmem_add_listener(vm: *mut gmem_vm, listener: *mut gmem_listener) -> c_int;
    /// Stop telling it.
    pub fn gmem_remove_listener(vm: *mut gmem_vm, listener: *mut gmem_listener) -> c_int;

    /// Make an IOMMU map everything that is bound and shared.
    pub fn gmem_add_iommu(
        vm: *mut gmem_vm,
        opts: *const gmem_iommu_opts,
        iommu: *mut *mut gmem_iommu,
    ) -> c_int;
    /// Unmap everything.
    pub fn gmem_remove_iommu(iommu: *mut gmem_iommu) -> c_int;

    /// Convert a range of guest physical addresses.
    pub fn gmem_convert_gpa(
        vm: *mut gmem_vm,
        gpa: u64,
        size: u64,
        attributes: u64,
        opts: *const gmem_convert_opts,
        result: *mut gmem_result,
    ) -> c_int;
    /// Convert a range of a memory.
    pub fn gmem_convert(
        gmem: *mut gmem,
        offset: u64,
        size: u64,
        attributes: u64,
        opts: *const gmem_convert_opts,
        result: *mut gmem_result,
    ) -> c_int;
    /// Make the calls that were given `cancel` stop waiting.
    pub fn gmem_cancel(vm: *mut gmem_vm, cancel: *mut u32);

    /// The longest range of one state from `offset` on.
    pub fn gmem_lookup(gmem: *mut gmem, offset: u64, range: *mut gmem_range) -> c_int;
    /// The same from `gpa` on.
    pub fn gmem_lookup_gpa(vm: *mut gmem_vm, gpa: u64, range: *mut gmem_range) -> c_int;
    /// Compare the library's states with the kernel's: 0, or 1 if they differ.
    pub fn gmem_verify(gmem: *mut gmem, first_difference: *mut gmem_range) -> c_int;
    /// Replace the library's states by the kernel's.
    pub fn gmem_rebuild(gmem: *mut gmem) -> c_int;

    /// Do what a vCPU's exit asks for: 0, or 1 if it was another exit.
    pub fn gmem_handle_exit(
        vm: *mut gmem_vm,
        run: *mut kvm_run,
        run_error: c_int,
        opts: *const gmem_convert_opts,
        result: *mut gmem_result,
    ) -> c_int;

    /// Set the size, and 0 for the rest.
    pub fn gmem_probe_init(probe: *mut gmem_probe, size: usize);
    /// Set the size, and 0 for the rest.
    pub fn gmem_vm_opts_init(opts: *mut gmem_vm_opts, size: usize);
    /// Set the size, and 0 for the rest.
    pub fn gmem_create_opts_init(opts: *mut gmem_create_opts, size: usize);
    /// Set the size, and 0 for the rest.
    pub fn gmem_adopt_opts_init(opts: *mut gmem_adopt_opts, size: usize);
    /// Set the size, and 0 for the rest.
    pub fn gmem_map_opts_init(opts: *mut gmem_map_opts, size: usize);
    /// Set the size, and 0 for the rest.
    pub fn gmem_bind_opts_init(opts: *mut gmem_bind_opts, size: usize);
    /// Set the size, and 0 for the rest.
    pub fn gmem_range_init(range: *mut gmem_range, size: usize);
    /// Set the size, and 0 for the rest.
    pub fn gmem_listener_init(listener: *mut gmem_listener, size: usize);
    /// Set the size, and 0 for the rest.
    pub fn gmem_iommu_opts_init(opts: *mut gmem_iommu_opts, size: usize);
    /// Set the size, and 0 for the rest.
    pub fn gmem_result_init(result: *mut gmem_result, size: usize);
    /// Set the size and the defaults.
    pub fn gmem_convert_opts_init(opts: *mut gmem_convert_opts, size: usize);

    /// The version of the running library.
    pub fn gmem_version() -> *const c_char;
    /// Its name, for messages.
    pub fn gmem_mechanism_name(mechanism: gmem_mechanism) -> *const c_char;
    /// Its name, for messages.
    pub fn gmem_policy_name(policy: gmem_policy) -> *const c_char;
    /// Its name, for messages.
    pub fn gmem_step_name(step: gmem_step) -> *const c_char;
}
