// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * libgmem's promises and its error paths, on a fake KVM with scripted answers: every error
 * at every step, after which the library's states are the kernel's, listeners agree, and
 * nothing is left open.
 */
#include <stdlib.h>

#include "unit_vm.h"

#define MOST_CASES	160

extern const struct CMUnitTest probe_cases[], binding_cases[], convert_cases[], undo_cases[],
	listener_cases[], batch_cases[], replay_cases[], exit_cases[], queue_cases[],
	waiting_cases[], threads_cases[], iommu_cases[],
	verify_cases[], beside_cases[], structs_cases[], limits_cases[], adopt_cases[],
	adopt_states_cases[], adopt_mapping_cases[];

int main(void)
{
	const struct CMUnitTest *const files[] = {
		probe_cases, binding_cases, convert_cases, undo_cases, listener_cases, batch_cases,
		replay_cases, exit_cases, queue_cases, waiting_cases,
		threads_cases, iommu_cases, verify_cases, beside_cases, structs_cases,
		limits_cases, adopt_cases, adopt_states_cases, adopt_mapping_cases,
	};
	struct CMUnitTest all[MOST_CASES];
	const struct CMUnitTest *one;
	size_t i, nr = 0;

	/* One plan for all of them; the macro of cmocka takes an array only. */
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		for (one = files[i]; one->name; one++) {
			if (nr == MOST_CASES)
				abort();
			all[nr++] = *one;
		}
	}

	return _cmocka_run_group_tests("libgmem", all, nr, NULL, NULL);
}
