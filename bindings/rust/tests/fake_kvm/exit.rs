// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Exits of a vCPU, which become conversions.
use crate::fake::{Fake, GPA, PAGE};
use crate::{bound, private_pages, SIZE};
use gmem::{ConvertOptions, Errno, Error, Exit, Step, Vm};

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
    assert_eq!((error.errno(), error.address()), (Errno::ENXIO, Some(GPA + SIZE)));

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
