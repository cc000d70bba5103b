// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! What a vCPU's exit asks for.
use crate::{sys, ConvertOptions, Errno, Error, Vm};

/// What [`Vm::handle_exit()`] has done about an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Exit {
    /// The exit was handled: run the vCPU again.
    Done,
    /// Another exit, or an error of `KVM_RUN`, that is not for the library but for the caller.
    Other,
    /// The pages of a memory fault have the state already (`EALREADY`).  A conversion by another
    /// vCPU came first, so run the vCPU again; if the exit comes back at once, repeatedly, the
    /// guest cannot have the memory.
    Already,
}

impl Vm {
    /// Do what the guest asked for, after `KVM_RUN` returned `run_error` with `run`:
    /// `KVM_EXIT_MEMORY_FAULT`, with `EFAULT` or success, or the `KVM_EXIT_HYPERCALL` of
    /// `KVM_HC_MAP_GPA_RANGE`, which the VM has to enable with `KVM_CAP_EXIT_HYPERCALL`.  Call it
    /// before anything else reads `run`.  Blocks like [`convert()`](Vm::convert).
    ///
    /// After a hypercall the guest has been told the result, also an error, so the vCPU may be run
    /// again; after a memory fault it would fault again.  Running it again is right after `EAGAIN`,
    /// `ETIMEDOUT` and `ECANCELED`, as the holder may have let go, and after `EPERM` in a protected
    /// VM of arm64, where another vCPU has taken the page back.
    ///
    /// # Safety
    ///
    /// `run` is the mapping of a vCPU of this VM, at least its `struct kvm_run`, and nobody else
    /// has a reference to it or runs the vCPU during the call.  For kvm-ioctls' `VcpuFd` it is
    /// `vcpu.get_kvm_run() as *mut _ as *mut _`, in the thread that has the `VcpuFd`.
    ///
    /// # Errors
    ///
    /// Those of [`convert()`](Vm::convert).  See `gmem_handle_exit(3)`.
    ///
    /// ```no_run
    /// use gmem::{ConvertOptions, Errno, Exit};
    ///
    /// # fn kvm_run(vcpu: i32) -> Result<(), std::io::Error> { unimplemented!() }
    /// # fn is_hypercall(run: *mut gmem::sys::kvm_run) -> bool { unimplemented!() }
    /// # fn handle_other_exit() { unimplemented!() }
    /// # fn main() -> Result<(), gmem::Error> {
    /// # let (vm, vcpu, run): (gmem::Vm, i32, *mut gmem::sys::kvm_run) = unimplemented!();
    /// let options = ConvertOptions::new();
    /// let mut again = 0;
    /// loop {
    ///     let run_error = kvm_run(vcpu).map_err(Errno::from);
    ///     // SAFETY: it is this vCPU's, which does not run.
    ///     match unsafe { vm.handle_exit(run, run_error, &options) } {
    ///         Ok(Exit::Done) => again = 0,
    ///         // Another vCPU may come first at any time, and a holder let go, but not forever.
    ///         Ok(Exit::Already) if again < 100 => again += 1,
    ///         Ok(Exit::Already) => panic!("the memory cannot be had"),
    ///         // A guest that asks for the impossible is told, and continues.
    ///         Err(_) if is_hypercall(run) => again = 0,
    ///         Err(error) => match error.errno() {
    ///             Errno::EAGAIN | Errno::EPERM if again < 100 => again += 1,
    ///             _ => return Err(error),
    ///         },
    ///         // EINTR, too.
    ///         Ok(Exit::Other) => handle_other_exit(),
    ///     }
    /// }
    /// # }
    /// ```
    pub unsafe fn handle_exit(
        &self,
        run: *mut sys::kvm_run,
        run_error: Result<(), Errno>,
        options: &ConvertOptions<'_>,
    ) -> Result<Exit, Error> {
        let run_error = run_error.map_or_else(|errno| -errno.raw(), |()| 0);
        let opts = options.as_c();
        let mut result = sys::gmem_result::default();

        // SAFETY: the VM exists, the caller answers for run, and the rest is for this call.
        let r = unsafe { sys::gmem_handle_exit(self.as_raw(), run, run_error, &opts, &mut result) };
        match Error::check_result("gmem_handle_exit", r, &result) {
            Ok(0) => Ok(Exit::Done),
            Ok(_) => Ok(Exit::Other),
            Err(error) if error.errno() == Errno::EALREADY => Ok(Exit::Already),
            Err(error) => Err(error),
        }
    }
}
