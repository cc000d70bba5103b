// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! A VM of the fake KVM, of which there is one at a time; see tests/fake_kvm.h.
use gmem::{Vm, VmOptions};
use std::fs;
use std::os::unix::io::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard};

pub const PAGE: u64 = 4096;
/// Where the fake has guest memory.
pub const GPA: u64 = 0x100000;

extern "C" {
    fn rust_fake_start() -> i32;
    fn rust_fake_stop();
    fn rust_fake_two_backings();
    fn rust_fake_set_page(fd: i32, page: u32, is_private: bool, held: bool);
    fn rust_fake_is_private(fd: i32, page: u32) -> bool;
    fn rust_fake_has_slot(slot: u32) -> bool;
    fn rust_fake_fail_conversion(from: u32, count: u32, error: i32);
}

pub struct Fake {
    fd: RawFd,
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Fake {
    pub fn start() -> Fake {
        // A case that failed has said so.
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // SAFETY: one at a time.
        Fake { fd: unsafe { rust_fake_start() }, _alone: alone }
    }

    pub fn start_two_backings() -> Fake {
        let fake = Fake::start();
        // SAFETY: started.
        unsafe { rust_fake_two_backings() };
        fake
    }

    pub fn vm(&self) -> Vm {
        Vm::new(self, &VmOptions::new().vm_type(1)).unwrap()
    }

    pub fn hold(&self, file: impl AsFd, page: u32, held: bool) {
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: of a file that the fake has made.
        unsafe { rust_fake_set_page(fd, page, rust_fake_is_private(fd, page), held) };
    }

    /// Without the library.
    pub fn convert(&self, file: impl AsFd, page: u32, is_private: bool) {
        // SAFETY: of a file that the fake has made.
        unsafe { rust_fake_set_page(file.as_fd().as_raw_fd(), page, is_private, false) };
    }

    pub fn is_private(&self, file: impl AsFd, page: u32) -> bool {
        // SAFETY: of a file that the fake has made.
        unsafe { rust_fake_is_private(file.as_fd().as_raw_fd(), page) }
    }

    pub fn has_slot(&self, slot: u32) -> bool {
        // SAFETY: a number below 16.
        unsafe { rust_fake_has_slot(slot) }
    }

    /// Calls of the kernel that convert, counted from now on.
    pub fn fail_conversion(&self, from: u32, count: u32, error: i32) {
        // SAFETY: started.
        unsafe { rust_fake_fail_conversion(from, count, error) };
    }
}

impl AsFd for Fake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open until fake_stop().
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // SAFETY: started.
        unsafe { rust_fake_stop() };
    }
}

/// How many descriptors this process has.
pub fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}
