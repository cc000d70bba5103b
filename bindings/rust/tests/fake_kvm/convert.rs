// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Conversions: they are the kernel's, and errors come back with step and address.
use crate::fake::{Fake, GPA, PAGE};
use crate::{bound, private_pages, SIZE};
use gmem::{BindOptions, Cancel, ConvertOptions, Errno, Policy, State, Step};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

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
