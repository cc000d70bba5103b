/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The harness without limits in seconds.  How long a case takes depends on what else
 * the machine does, so whoever runs it ends it when it stops making progress, which
 * show_progress() reports.
 */
#ifndef SELFTEST_KVM_GMEM_HARNESS_H
#define SELFTEST_KVM_GMEM_HARNESS_H

#include "kvm_test_harness.h"

/* Negative is no limit to poll(), which the harness hands it to. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	(-1)

#endif /* SELFTEST_KVM_GMEM_HARNESS_H */
