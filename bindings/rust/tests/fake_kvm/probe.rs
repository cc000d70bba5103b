// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! What there is: mechanisms, policies, and what threads may share.
use crate::fake::Fake;
use gmem::{
    Cancel, ConvertOptions, Errno, Error, Iommu, Listening, Mapping, Mechanism, Memory, Policy, Vm,
    VmOptions,
};

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
