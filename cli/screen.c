// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "output.h"
#include "screen.h"

#define CLEAR		"\033[H\033[2J"
#define HOME		"\033[H"
#define CLEAR_LINE	"\033[K"
#define CLEAR_REST	"\033[J"

static struct {
	bool in_place;
	bool has_keys;
	struct termios before;
} screen;

static volatile sig_atomic_t ended;
/* Signals that end the program.  A second one ends it even if a read of /proc hangs. */
static sigset_t signals;

static void end(int sig)
{
	(void)sig;
	ended = 1;
}

static void catch_signals(void)
{
	static const int caught[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = end, .sa_flags = SA_RESETHAND };
	size_t i;

	for (i = 0; i < sizeof(caught) / sizeof(caught[0]); i++) {
		sigaction(caught[i], &action, NULL);
		sigaddset(&signals, caught[i]);
	}
}

bool screen_start(bool plain)
{
	struct termios keys;

	catch_signals();
	screen.in_place = !plain && output_knows_escapes();
	if (!screen.in_place)
		return false;

	screen.has_keys = isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &screen.before);
	if (screen.has_keys) {
		keys = screen.before;
		keys.c_lflag &= ~(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &keys);
		/* Also when die() ends the program. */
		atexit(screen_end);
	}
	fputs(CLEAR, stdout);

	return true;
}

void screen_end(void)
{
	if (screen.has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
	screen.has_keys = false;
}

/* Cut off what does not fit: a line that wraps would scroll the first one away. */
static void show_in_place(const char *text, size_t size)
{
	const char *line = text, *newline;
	unsigned int rows = 24, columns = 80, row;
	struct winsize window;
	int length;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) && window.ws_row && window.ws_col) {
		rows = window.ws_row;
		columns = window.ws_col;
	}

	fputs(HOME, stdout);
	for (row = 0; line < text + size && row + 1 < rows; row++) {
		newline = memchr(line, '\n', text + size - line);
		if (!newline)
			break;
		length = newline - line;
		if ((unsigned int)length > columns)
			length = columns;
		printf(CLEAR_LINE "%.*s\n", length, line);
		line = newline + 1;
	}
	fputs(CLEAR_REST, stdout);
}

void screen_show(const char *text, size_t size)
{
	if (screen.in_place) {
		show_in_place(text, size);
		output_flush();
	} else {
		output_write(NULL, text, size);
	}
}

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

bool screen_wait(double seconds)
{
	double deadline = now() + seconds, left;
	struct pollfd keys = { .fd = screen.has_keys ? STDIN_FILENO : -1, .events = POLLIN };
	struct timespec timeout;
	sigset_t before;
	char key;

	/* Let signals in during ppoll() only, or one could arrive after the check of @ended. */
	sigprocmask(SIG_BLOCK, &signals, &before);
	while (!ended && (left = deadline - now()) > 0) {
		timeout.tv_sec = left;
		timeout.tv_nsec = (left - timeout.tv_sec) * 1e9;
		if (ppoll(&keys, 1, &timeout, &before) <= 0)
			continue;
		/* The terminal is gone: poll() would return at once from now on. */
		if (read(STDIN_FILENO, &key, 1) != 1)
			keys.fd = -1;
		else if (key == 'q' || key == 'Q')
			ended = 1;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);

	return !ended;
}
