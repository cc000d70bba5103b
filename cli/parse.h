/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Arguments of the verbs; what makes no sense ends the program. */
#ifndef GMEM_PARSE_H
#define GMEM_PARSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

uint64_t parse_number(const char *text, const char *what);
pid_t parse_pid(const char *text);

/* "PID:FD", "PID:gpa" or "PID", of which the last two leave no descriptor in *@fd. */
#define PARSE_ANY	(-1)
#define PARSE_GPA	(-2)
void parse_file(const char *text, pid_t *pid, int *fd);

/* With a fraction. */
#define PARSE_DAY	86400.0
#define PARSE_YEAR	(366 * PARSE_DAY)
double parse_seconds(const char *text, double least, double most);

#endif
