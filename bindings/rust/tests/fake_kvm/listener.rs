// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Listeners, of every kind, and the one for an IOMMU.
use crate::fake::{open_files, Fake, PAGE};
use crate::{bound, errno, private_pages, SIZE};
use gmem::{BatchListener, ConvertOptions, Errno, Listener, ListenerOptions, Range, State, Step};
use std::env;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

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
        .args(["--exact", "listener::panic_of_a_listener_ends_the_process", "--nocapture"])
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
