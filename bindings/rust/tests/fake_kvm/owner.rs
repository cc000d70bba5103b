// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Who owns what: nothing outlives what it needs, and what was adopted stays.
use crate::fake::{open_files, Fake, GPA, PAGE};
use crate::{bound, errno, private_pages, SIZE};
use gmem::{AdoptOptions, BindOptions, ConvertOptions, Errno, State};
use std::alloc::{alloc, dealloc, Layout};
use std::os::unix::io::{AsFd, AsRawFd, FromRawFd, OwnedFd};

#[test]
fn nothing_is_left_open() {
    let fake = Fake::start();
    let before = open_files();
    for _ in 0..3 {
        let vm = fake.vm();
        let memory = bound(&vm);
        memory.map(&Default::default()).unwrap();
        assert!(fake.has_slot(1));
        // The memory has a VM until it ends.
        drop(vm);
        assert!(memory.convert(0, PAGE, State::Private, &ConvertOptions::new()).is_ok());
        drop(memory);
        assert!(!fake.has_slot(1));
        assert_eq!(open_files(), before);
    }
}

#[test]
fn mapping_reads_what_it_writes() {
    let fake = Fake::start();
    let memory = bound(&fake.vm());
    let hva = memory.map(&Default::default()).unwrap();
    assert_eq!(hva.size() as u64, memory.size());
    hva.write(SIZE - 8, 0x0123_4567_89ab_cdef_u64).unwrap();
    hva.write_bytes(1, b"request").unwrap();

    let again = memory.map(&Default::default()).unwrap();
    assert_eq!(again.as_ptr(), hva.as_ptr());
    let mut bytes = [0; 8];
    again.read_bytes(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0request");
    assert_eq!(again.read::<u32>(SIZE - 4).unwrap(), 0x0123_4567);
    let error = again.read::<u8>(SIZE).unwrap_err();
    assert_eq!(error.to_string(), "gmem::Mapping: Invalid argument");
}

/// A guest_memfd of the fake's, as a VMM makes one.
fn guest_memfd(fake: &Fake, flags: u64) -> OwnedFd {
    #[repr(C)]
    struct CreateGuestMemfd {
        size: u64,
        flags: u64,
        reserved: [u64; 6],
    }
    const KVM_CREATE_GUEST_MEMFD: u64 = 0xc040_aed4;
    extern "C" {
        // The fake's, as the library's is.
        fn __wrap_ioctl(fd: i32, request: u64, ...) -> i32;
    }
    let mut args = CreateGuestMemfd { size: SIZE, flags, reserved: [0; 6] };
    // SAFETY: a struct of the size that the number has.
    let fd = unsafe { __wrap_ioctl(fake.as_fd().as_raw_fd(), KVM_CREATE_GUEST_MEMFD, &mut args) };
    assert!(fd >= 0);
    // SAFETY: new.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[test]
fn adopted_files_stay_their_owners() {
    const MMAP_AND_INIT_SHARED: u64 = 3;
    let fake = Fake::start();
    let vm = fake.vm();
    let file = guest_memfd(&fake, MMAP_AND_INIT_SHARED);
    fake.convert(&file, 2, true);
    let before = open_files();

    let options = AdoptOptions::new().ask_kernel(true);
    let memory = vm.adopt(SIZE, &file, None, &options).unwrap();
    assert_eq!(private_pages(&memory), [(2, 3)]);
    assert_ne!(memory.private_fd().as_raw_fd(), file.as_raw_fd());
    memory.bind(None, GPA, 0, SIZE, &BindOptions::new()).unwrap();
    assert!((0..16).all(|slot| !fake.has_slot(slot)));
    vm.convert(GPA, PAGE, State::Private, &ConvertOptions::new()).unwrap();
    assert!(fake.is_private(&file, 0));
    drop(memory);
    assert_eq!(open_files(), before);
    assert!(fake.is_private(&file, 0));

    // One bit for each page, and a word for each 64 of them.
    let told = AdoptOptions::new().private_pages(&[0b1000_0001]);
    let memory = vm.adopt(SIZE, &file, Some(file.as_fd()), &told).unwrap();
    assert_eq!(private_pages(&memory), [(0, 1), (7, 8)]);
    let difference = memory.verify().unwrap().unwrap();
    assert_eq!((difference.offset, difference.state), (2 * PAGE, State::Private));
    memory.rebuild().unwrap();
    assert_eq!(memory.verify().unwrap(), None);
    assert_eq!(private_pages(&memory), [(0, 1), (2, 3)]);
    let too_few = AdoptOptions::new().private_pages(&[]);
    assert_eq!(errno(vm.adopt(SIZE, &file, None, &too_few)).err(), Some(Errno::EINVAL));
}

#[test]
fn anonymous_shared_half_stays_its_owners() {
    let fake = Fake::start_two_backings();
    let vm = fake.vm();
    let file = guest_memfd(&fake, 0);
    let pages = Layout::from_size_align(SIZE as usize, PAGE as usize).unwrap();
    // SAFETY: it has a size.
    let hva = unsafe { alloc(pages) };
    assert!(!hva.is_null());
    // SAFETY: as large as that.
    unsafe { hva.write_bytes(7, pages.size()) };

    assert_eq!(errno(vm.adopt(SIZE, &file, None, &AdoptOptions::new())).err(), Some(Errno::EINVAL));
    // SAFETY: until after the memory; nobody else looks at what it holds.
    let options = unsafe { AdoptOptions::new().hva(hva.cast()) }.state(State::Private);
    let memory = vm.adopt(SIZE, &file, None, &options).unwrap();
    assert!(memory.shared_fd().is_none());
    memory.bind(None, GPA, 0, SIZE, &BindOptions::new()).unwrap();
    let map = memory.map(&Default::default()).unwrap();
    assert_eq!(map.as_ptr(), hva);
    assert_eq!(private_pages(&memory), [(0, 8)]);
    // ZERO to shared: it is discarded before the host may look.
    vm.convert(GPA + PAGE, PAGE, State::Shared, &ConvertOptions::new()).unwrap();
    assert_eq!((map.read::<u8>(0).unwrap(), map.read::<u8>(PAGE).unwrap()), (7, 0));
    drop(memory);
    // SAFETY: from alloc().
    unsafe { dealloc(hva, pages) };
}
