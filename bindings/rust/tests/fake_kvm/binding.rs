// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Where the guest has a memory.
use crate::fake::{Fake, GPA, PAGE};
use crate::{errno, private_pages, SIZE};
use gmem::{BindOptions, ConvertOptions, Errno, State, Step};

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
