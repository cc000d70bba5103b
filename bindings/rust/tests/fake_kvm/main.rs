// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! The crate on the library and a fake KVM: what Rust asks for arrives, what the library answers
//! comes back, and nothing outlives what it needs.
mod binding;
mod convert;
mod exit;
mod fake;
mod listener;
mod owner;
mod probe;

use crate::fake::{GPA, PAGE};
use gmem::{BindOptions, Errno, Error, Memory, State, Vm};

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
