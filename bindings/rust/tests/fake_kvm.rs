// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! The crate on the library and a fake KVM: what Rust asks for arrives, what the library answers
//! comes back, and nothing outlives what it needs.
mod fake;

use fake::{open_files, Fake, GPA, PAGE};
use gmem::{
    AdoptOptions, BatchListener, BindOptions, Cancel, ConvertOptions, Errno, Error, Exit, Iommu,
    Listener, ListenerOptions, Listening, Mapping, Mechanism, Memory, Policy, Range, State, Step,
    Vm, VmOptions,
};
use std::alloc::{alloc, dealloc, Layout};
use std::env;
use std::fs::File;
use std::os::unix::io::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const SIZE: u64 = 8 * PAGE;

/// Slot 1 at [`GPA`], all shared.
fn bound(vm: &Vm) -> Memory {
    let memory = vm.create(SIZE, State::Shared).unwrap();
    memory.bind(Some(1), GPA, 0, SIZE, &BindOptions::new()).unwrap();
    memory
}

fn errno<T>(result: Result<T, Error>) -> Result<T, Errno> {
    result.map_err(|error| error.errno())
}

/// Where what is private begins and ends, in pages.
fn private_pages(memory: &Memory) -> Vec<(u64, u64)> {
    memory
        .ranges()
        .filter(|range| range.state == State::Private)
        .map(|range| (range.offset / PAGE, (range.offset + range.size) / PAGE))
        .collect()
}

// ---- What there is ------------------------------------------------------------

#[test]
fn probe_says_what_the_kernel_has() {
    let fake = Fake::start();
    let probe = gmem::probe(&fake, 1, None).unwrap();
    assert_eq!(probe.mechanism(), Some(Mechanism::InPlace));
    assert!(probe.has(Mechanism::TwoBackings) && probe.has(Mechanism::InPlacePlain));
    assert!(probe.to_private(Policy::Preserve) && probe.to_shared(Policy::Zero));
    assert!(probe.is_atomic());

    let options = VmOptions::new().vm_type(1).mechanism(Mechanism::TwoBackings);
    let probe = Vm::new(&fake, &options).unwrap().probe();
    assert_eq!(probe.mechanism(), Some(Mechanism::TwoBackings));
    assert!(!probe.to_shared(Policy::Preserve));
    assert_eq!(Mechanism::TwoBackings.to_string(), "two backings");
}

#[test]
fn what_is_not_there_is_an_error() {
    let fake = Fake::start_two_backings();
    let options = VmOptions::new().mechanism(Mechanism::InPlace);
    let error = Vm::new(&fake, &options).unwrap_err();
    assert_eq!(error.errno(), Errno::EOPNOTSUPP);
    assert_eq!(error.to_string(), "gmem_vm_init: Operation not supported");
    assert_eq!((error.step(), error.address(), error.left()), (None, None, None));
}

#[test]
fn threads_share_what_gmem_h_lets_them_share() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Vm>();
    is_shared::<Memory>();
    is_shared::<Mapping<'static>>();
    is_shared::<Listening>();
    is_shared::<Iommu>();
    is_shared::<Cancel>();
    is_shared::<ConvertOptions<'static>>();
    is_shared::<Error>();
}

// ---- Who owns what -------------------------------------------------------------

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

// ---- Binding --------------------------------------------------------------------

#[test]
fn binding_excluding_and_unbinding() {
    let fake = Fake::start();
    let vm = fake.vm();
    let memory = vm.create(SIZE, State::Private).unwrap();
    let opts = BindOptions::new();
    assert_eq!(errno(vm.lookup(GPA)).err(), Some(Errno::ENXIO));
    memory.bind(Some(1), GPA, 4 * PAGE, 4 * PAGE, &opts).unwrap();
    vm.exclude(GPA + 4 * PAGE, PAGE, &opts).unwrap();
    assert_eq!(errno(vm.lookup(GPA + 4 * PAGE)).err(), Some(Errno::EPERM));
    let overlaps = memory.bind(Some(2), GPA + 4 * PAGE, 0, PAGE, &opts);
    assert_eq!(errno(overlaps), Err(Errno::EEXIST));

    let range = vm.lookup(GPA + PAGE).unwrap();
    assert_eq!(range.memory, memory.id());
    assert_eq!((range.offset, range.size), (5 * PAGE, 3 * PAGE));
    assert_eq!((range.gpa, range.state), (Some(GPA + PAGE), State::Private));
    assert_eq!(memory.lookup(0).unwrap().gpa, None);

    // MMIO is shared already, and cannot be private.
    vm.convert(GPA, 5 * PAGE, State::Shared, &ConvertOptions::new()).unwrap();
    assert_eq!(private_pages(&memory), [(0, 4)]);
    let error = vm.convert(GPA, 5 * PAGE, State::Private, &ConvertOptions::new()).unwrap_err();
    assert_eq!(error.errno(), Errno::EPERM);
    assert_eq!((error.step(), error.address()), (Some(Step::Check), Some(GPA + 4 * PAGE)));

    vm.unbind(GPA, &opts).unwrap();
    assert!(!fake.has_slot(1));
    assert_eq!(errno(vm.unbind(GPA, &opts)), Err(Errno::ENXIO));
    let slot_flags = BindOptions::new().slot_flags(1);
    assert_eq!(errno(memory.bind(None, GPA, 0, PAGE, &slot_flags)), Err(Errno::EINVAL));
}

// ---- Conversion -----------------------------------------------------------------

#[test]
fn conversions_are_the_kernels() {
    let fake = Fake::start();
    let memory = bound(&fake.vm());
    let converted =
        memory.convert(2 * PAGE, 3 * PAGE, State::Private, &ConvertOptions::new()).unwrap();
    assert_eq!((converted.attempts, converted.undiscarded), (0, 0));
    assert_eq!(private_pages(&memory), [(2, 5)]);
    assert!(fake.is_private(memory.private_fd(), 4) && !fake.is_private(memory.private_fd(), 5));
    assert_eq!(memory.verify().unwrap(), None);
    memory.vm().convert(GPA, SIZE, State::Shared, &ConvertOptions::new()).unwrap();
    assert_eq!(private_pages(&memory), []);
}

#[test]
fn held_page_is_an_error_with_its_address() {
    let fake = Fake::start();
    let vm = fake.vm();
    let memory = bound(&vm);
    fake.hold(memory.private_fd(), 3, true);
    let error = vm.convert(GPA, SIZE, State::Private, &ConvertOptions::new()).unwrap_err();
    assert_eq!(error.errno(), Errno::EAGAIN);
    assert_eq!(error.call(), "gmem_convert_gpa");
    assert_eq!((error.step(), error.address()), (Some(Step::Convert), Some(GPA + 3 * PAGE)));
    assert_eq!((error.attempts(), error.left(), error.undo_error()), (1, None, None));
    assert!(!error.contents_lost());
    assert_eq!(
        error.to_string(),
        "gmem_convert_gpa: Resource temporarily unavailable while converting at 0x103000"
    );
    assert_eq!(private_pages(&memory), []);
}

#[test]
fn failed_undo_is_told() {
    let fake = Fake::start();
    let vm = fake.vm();
    let (a, b) = (vm.create(SIZE, State::Shared).unwrap(), vm.create(SIZE, State::Shared).unwrap());
    // Slots of the VMM's are a call of the kernel each.
    a.bind(None, GPA, 0, SIZE, &BindOptions::new()).unwrap();
    b.bind(None, GPA + SIZE, 0, SIZE, &BindOptions::new()).unwrap();
    fake.fail_conversion(1, 2, Errno::ENOMEM.raw());
    let error = vm.convert(GPA, 2 * SIZE, State::Private, &ConvertOptions::new()).unwrap_err();
    assert_eq!((error.errno(), error.step()), (Errno::ENOMEM, Some(Step::Convert)));
    assert_eq!(error.left(), Some(GPA..GPA + SIZE));
    assert_eq!(error.undo_error(), Some(Errno::ENOMEM));
    assert_eq!(
        error.to_string(),
        "gmem_convert_gpa: Cannot allocate memory while converting at 0x10f000; \
         [0x100000, +0x8000) stays converted; the undo: Cannot allocate memory"
    );
    assert_eq!(private_pages(&a), [(0, 8)]);

    vm.convert(GPA, 2 * SIZE, State::Shared, &ConvertOptions::new()).unwrap();
    fake.fail_conversion(1, 1, Errno::ENOMEM.raw());
    let options = ConvertOptions::new().no_undo(true);
    let error = vm.convert(GPA, 2 * SIZE, State::Private, &options).unwrap_err();
    assert_eq!(error.left(), Some(GPA..GPA + SIZE));
    assert_eq!(error.undo_error(), Some(Errno::ECANCELED));

    // And if it works, that contents are gone.
    vm.convert(GPA, 2 * SIZE, State::Shared, &ConvertOptions::new()).unwrap();
    fake.fail_conversion(1, 1, Errno::ENOMEM.raw());
    let error = vm.convert(GPA, 2 * SIZE, State::Private, &ConvertOptions::new()).unwrap_err();
    assert_eq!((error.left(), error.contents_lost()), (None, true));
    assert!(error.to_string().ends_with("; contents are lost"));
}

#[test]
fn policies_arrive() {
    let fake = Fake::start_two_backings();
    let memory = bound(&fake.vm());
    let options = ConvertOptions::new().to_private(Policy::Preserve);
    let error = memory.convert(0, PAGE, State::Private, &options).unwrap_err();
    assert_eq!((error.errno(), error.step()), (Errno::EOPNOTSUPP, Some(Step::Check)));
    memory.convert(0, PAGE, State::Private, &options.to_private(Policy::None)).unwrap();
    let options = ConvertOptions::new().to_shared(Policy::Preserve);
    let error = memory.convert(0, PAGE, State::Shared, &options).unwrap_err();
    assert_eq!(error.errno(), Errno::EOPNOTSUPP);
}

#[test]
fn busy_makes_the_holder_let_go() {
    let fake = Fake::start();
    let memory = bound(&fake.vm());
    let calls = Mutex::new(vec![]);
    fake.hold(memory.private_fd(), 3, true);
    let busy = |address, attempts| {
        calls.lock().unwrap().push((address, attempts));
        if attempts == 2 {
            fake.hold(memory.private_fd(), 3, false);
        }
        Ok(())
    };
    // Of the fake, whose time passes when somebody waits.
    let options = ConvertOptions::new().timeout(Duration::from_secs(10)).busy(&busy);
    let converted = memory.convert(0, SIZE, State::Private, &options).unwrap();
    assert_eq!(converted.attempts, 2);
    assert_eq!(*calls.lock().unwrap(), [(3 * PAGE, 1), (3 * PAGE, 2)]);

    memory.convert(0, SIZE, State::Shared, &options).unwrap();
    fake.hold(memory.private_fd(), 3, true);
    let gives_up = |_, _| Err(Errno::EBUSY);
    let error = memory.convert(0, SIZE, State::Private, &options.busy(&gives_up)).unwrap_err();
    assert_eq!((error.errno(), error.attempts()), (Errno::EBUSY, 1));
}

#[test]
fn cancel_ends_the_waiting() {
    let fake = Fake::start();
    let vm = fake.vm();
    let memory = bound(&vm);
    let cancel = Cancel::new();
    fake.hold(memory.private_fd(), 0, true);
    let busy = |_, _| {
        vm.cancel(&cancel);
        Ok(())
    };
    let options = ConvertOptions::new().timeout(Duration::from_secs(10)).cancel(&cancel);
    let error = memory.convert(0, PAGE, State::Private, &options.busy(&busy)).unwrap_err();
    assert_eq!((error.errno(), error.attempts()), (Errno::ECANCELED, 1));

    // It stays so until it is reset; what need not wait is served.
    assert!(cancel.is_set());
    let error = memory.convert(0, PAGE, State::Private, &options).unwrap_err();
    assert_eq!(error.errno(), Errno::ECANCELED);
    memory.convert(PAGE, PAGE, State::Private, &options).unwrap();
    cancel.reset();
    fake.hold(memory.private_fd(), 0, false);
    memory.convert(0, PAGE, State::Private, &options).unwrap();
    cancel.set();
    assert!(cancel.is_set());
}

#[test]
fn threads_convert_side_by_side() {
    let fake = Fake::start();
    let vm = fake.vm();
    let memory = bound(&vm);
    thread::scope(|scope| {
        for page in 0..4 {
            let (vm, memory) = (vm.clone(), &memory);
            scope.spawn(move || {
                for _ in 0..50 {
                    vm.convert(GPA + page * PAGE, PAGE, State::Private, &ConvertOptions::new())
                        .unwrap();
                    memory
                        .convert(page * PAGE, PAGE, State::Shared, &ConvertOptions::new())
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(private_pages(&memory), []);
    assert_eq!(memory.verify().unwrap(), None);
}

// ---- Listeners -------------------------------------------------------------------

/// Writes down what it is told, and refuses at a page.
#[derive(Default)]
struct Told {
    what: Mutex<Vec<String>>,
    refused: AtomicU32,
}

impl Told {
    fn note(&self, what: &str, range: &Range) -> Result<(), Errno> {
        let page = range.offset / PAGE;
        self.what.lock().unwrap().push(format!("{what}{page}+{}", range.size / PAGE));
        match u64::from(self.refused.load(Ordering::Relaxed)) {
            refused if refused != 0 && refused == page => Err(Errno::EBUSY),
            _ => Ok(()),
        }
    }

    fn take(&self) -> String {
        self.what.lock().unwrap().drain(..).collect::<Vec<_>>().join(" ")
    }
}

impl Listener for Told {
    fn before_private(&self, range: &Range) -> Result<(), Errno> {
        assert_eq!(range.state, State::Shared);
        self.note("P", range)
    }

    fn after_shared(&self, range: &Range) -> Result<(), Errno> {
        self.note("S", range)
    }
}

#[test]
fn listeners_are_told_until_they_are_dropped() {
    let fake = Fake::start();
    let vm = fake.vm();
    let memory = bound(&vm);
    let told = Arc::new(Told::default());
    let listening = vm.add_listener(told.clone(), &ListenerOptions::new()).unwrap();
    assert_eq!(told.take(), "");
    memory.convert(PAGE, 2 * PAGE, State::Private, &ConvertOptions::new()).unwrap();
    memory.convert(0, SIZE, State::Private, &ConvertOptions::new()).unwrap();
    memory.convert(0, SIZE, State::Shared, &ConvertOptions::new()).unwrap();
    assert_eq!(told.take(), "P1+2 P0+1 P3+5 S0+8");

    // A listener that refuses still holds the range, and is given back what it has let go of.
    told.refused.store(3, Ordering::Relaxed);
    memory.convert(2 * PAGE, PAGE, State::Private, &ConvertOptions::new()).unwrap();
    told.take();
    let error = memory.convert(0, SIZE, State::Private, &ConvertOptions::new()).unwrap_err();
    assert_eq!((error.errno(), error.step()), (Errno::EBUSY, Some(Step::BeforePrivate)));
    assert_eq!(error.address(), Some(3 * PAGE));
    assert_eq!((told.take().as_str(), private_pages(&memory)), ("P0+2 P3+5 S0+2", vec![(2, 3)]));

    drop(listening);
    memory.convert(0, SIZE, State::Private, &ConvertOptions::new()).unwrap();
    assert_eq!((told.take().as_str(), Arc::strong_count(&told)), ("", 1));
}

#[test]
fn replay_tells_of_what_is_bound_and_shared() {
    let fake = Fake::start();
    let vm = fake.vm();
    let memory = bound(&vm);
    memory.convert(0, PAGE, State::Private, &ConvertOptions::new()).unwrap();
    let told = Arc::new(Told::default());
    let options = ListenerOptions::new().replay(true).gaps(true);
    let listening = vm.add_listener(told.clone(), &options).unwrap();
    assert_eq!(told.take(), "S1+7");
    memory.convert(3 * PAGE, PAGE, State::Private, &ConvertOptions::new()).unwrap();
    // With gaps it is told from the first page that changes to the end.
    memory.convert(0, SIZE, State::Private, &ConvertOptions::new()).unwrap();
    assert_eq!(told.take(), "P3+1 P1+7");
    memory.convert(PAGE, PAGE, State::Shared, &ConvertOptions::new()).unwrap();
    told.take();

    // Removing goes on, and says what it did.
    told.refused.store(1, Ordering::Relaxed);
    assert_eq!(errno(listening.remove()), Err(Errno::EBUSY));
    assert_eq!((told.take().as_str(), Arc::strong_count(&told)), ("P1+1", 1));
    // Adding is undone.
    assert_eq!(errno(vm.add_listener(told.clone(), &options)).err(), Some(Errno::EBUSY));
    assert_eq!((told.take().as_str(), Arc::strong_count(&told)), ("S1+1", 1));
}

/// Sends what it has collected at once.
#[derive(Default)]
struct Batch(Told);

impl Listener for Batch {
    fn begin(&self, to: State) -> Result<(), Errno> {
        self.0.what.lock().unwrap().push(format!("({to}"));
        Ok(())
    }

    fn before_private(&self, range: &Range) -> Result<(), Errno> {
        self.0.before_private(range)
    }

    fn after_shared(&self, range: &Range) -> Result<(), Errno> {
        self.0.after_shared(range)
    }
}

impl BatchListener for Batch {
    fn commit(&self) -> Result<(), Errno> {
        self.0.what.lock().unwrap().push(")".into());
        match self.0.refused.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(Errno::EIO),
        }
    }
}

#[test]
fn batches_begin_and_commit() {
    let fake = Fake::start();
    let vm = fake.vm();
    let memory = bound(&vm);
    let batch = Arc::new(Batch::default());
    let _listening = vm.add_batch_listener(batch.clone(), &ListenerOptions::new()).unwrap();
    memory.convert(PAGE, PAGE, State::Private, &ConvertOptions::new()).unwrap();
    memory.convert(0, 3 * PAGE, State::Private, &ConvertOptions::new()).unwrap();
    assert_eq!(batch.0.take(), "(private P1+1 ) (private P0+1 P2+1 )");
    batch.0.refused.store(99, Ordering::Relaxed);
    let error = memory.convert(0, SIZE, State::Shared, &ConvertOptions::new()).unwrap_err();
    assert_eq!((error.errno(), error.step()), (Errno::EIO, Some(Step::AfterShared)));
    assert_eq!((batch.0.take().as_str(), private_pages(&memory)), ("(shared S0+3 )", vec![(0, 3)]));
}

/// A dyn one, which VMMs keep in a list.
#[test]
fn listener_of_any_kind_can_be_added() {
    let fake = Fake::start();
    let vm = fake.vm();
    let memory = bound(&vm);
    let told = Arc::new(Told::default());
    let any: Arc<dyn Listener> = told.clone();
    let _listening = vm.add_listener(any, &ListenerOptions::new()).unwrap();
    memory.convert(0, PAGE, State::Private, &ConvertOptions::new()).unwrap();
    assert_eq!(told.take(), "P0+1");
}

struct Panics;

impl Listener for Panics {
    fn before_private(&self, _range: &Range) -> Result<(), Errno> {
        panic!("a listener's")
    }

    fn after_shared(&self, _range: &Range) -> Result<(), Errno> {
        Ok(())
    }
}

#[test]
fn panic_of_a_listener_ends_the_process() {
    const CHILD: &str = "GMEM_TEST_PANICS";
    if env::var_os(CHILD).is_some() {
        let fake = Fake::start();
        let vm = fake.vm();
        let memory = bound(&vm);
        let _listening = vm.add_listener(Panics, &ListenerOptions::new()).unwrap();
        let _ = memory.convert(0, PAGE, State::Private, &ConvertOptions::new());
        return;
    }
    // Others count descriptors, and this one has pipes.
    let _alone = Fake::start();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "panic_of_a_listener_ends_the_process", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("a listener's"));
}

#[test]
fn iommu_wants_an_iommu() {
    let fake = Fake::start();
    let vm = fake.vm();
    let before = open_files();
    let null = File::open("/dev/null").unwrap();
    let error = vm.add_iommu(&null, 1).unwrap_err();
    assert_eq!((error.call(), error.errno()), ("gmem_add_iommu", Errno::ENOTTY));
    drop(null);
    assert_eq!(open_files(), before);
}

// ---- Exits -----------------------------------------------------------------------

/// The beginning of struct kvm_run: the reason is at 8, what belongs to it from 32 on.
#[repr(C, align(8))]
struct Run([u64; 32]);

impl Run {
    fn memory_fault(gpa: u64, size: u64, to_private: bool) -> Run {
        let mut run = Run([0; 32]);
        run.0[1] = 39;
        run.0[4..7].copy_from_slice(&[u64::from(to_private) << 3, gpa, size]);
        run
    }

    fn map_gpa_range(gpa: u64, pages: u64, to_private: bool) -> Run {
        let mut run = Run([0; 32]);
        run.0[1] = 3;
        run.0[4..8].copy_from_slice(&[12, gpa, pages, u64::from(to_private) << 4]);
        run.0[11] = 77;
        run
    }

    fn answer(&self) -> u64 {
        self.0[11]
    }

    fn handle(&mut self, vm: &Vm, run_error: Result<(), Errno>) -> Result<Exit, Error> {
        let run = (self as *mut Run).cast();
        // SAFETY: larger than what the library looks at, and ours.
        unsafe { vm.handle_exit(run, run_error, &ConvertOptions::new()) }
    }
}

#[test]
fn exits_become_conversions() {
    let fake = Fake::start();
    let vm = fake.vm();
    let memory = bound(&vm);
    let fault = Err(Errno::EFAULT);
    let mut run = Run::memory_fault(GPA + 0x123, 8, true);
    assert_eq!(run.handle(&vm, fault).unwrap(), Exit::Done);
    assert_eq!(private_pages(&memory), [(0, 1)]);
    assert_eq!(run.handle(&vm, fault).unwrap(), Exit::Already);
    assert_eq!(run.handle(&vm, Err(Errno::EHWPOISON)).unwrap(), Exit::Other);
    let error = Run::memory_fault(GPA + SIZE, 8, true).handle(&vm, fault).unwrap_err();
    assert_eq!((error.errno(), error.address()), (Errno::ENXIO, None));

    let mut run = Run::map_gpa_range(GPA + PAGE, 3, true);
    assert_eq!(run.handle(&vm, Ok(())).unwrap(), Exit::Done);
    assert_eq!((run.answer(), private_pages(&memory)), (0, vec![(0, 4)]));
    let mut run = Run::map_gpa_range(GPA + SIZE, 1, true);
    let error = run.handle(&vm, Ok(())).unwrap_err();
    assert_eq!((error.errno(), error.address()), (Errno::ENXIO, Some(GPA + SIZE)));
    assert_eq!(run.answer(), Errno::EINVAL.raw() as u64);

    fake.hold(memory.private_fd(), 5, true);
    let mut run = Run::map_gpa_range(GPA + 5 * PAGE, 1, true);
    let error = run.handle(&vm, Ok(())).unwrap_err();
    assert_eq!((error.errno(), error.step()), (Errno::EAGAIN, Some(Step::Convert)));
    assert_eq!(run.answer(), Errno::EAGAIN.raw() as u64);
    assert_eq!(Run([0; 32]).handle(&vm, Ok(())).unwrap(), Exit::Other);
}
