/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The VMs of this host as metrics for Prometheus. */
#ifndef GMEM_OPENMETRICS_H
#define GMEM_OPENMETRICS_H

#include "vms.h"

/*
 * Write Prometheus' text format 0.0.4, which the textfile collector of node_exporter
 * reads, and "# EOF" at the end, which OpenMetrics wants and the other format ignores.
 */
void openmetrics(FILE *to, const struct vms *vms);

#endif
