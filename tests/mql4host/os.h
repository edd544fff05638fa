// What the host needs of the operating system: os_posix.cpp, os_windows.cpp.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <string>

int64_t OsMonotonicUs();
void OsSleepMs(int ms);
struct tm OsUtc(time_t seconds);
void OsOnTerminate(void (*handler)(int));

// The line to the broker server.
bool OsHasBroker();
int OsReadBroker(char *to, size_t n);
int OsWriteBroker(const char *from, size_t n);

// Wait until it says something, for at most so long (for ever if it is negative).
bool OsWaitForBroker(int64_t left_us);

void OsMakeFolder(const std::string &path);
bool OsExists(const std::string &path);
bool OsDelete(const std::string &path);
bool OsMove(const std::string &from, const std::string &to);

// Locked as MetaTrader's files are: against everybody, or against those who do not share.
FILE *OsOpen(const std::string &path, bool reads, bool writes, bool shares);

typedef intptr_t OsPipe;
bool OsOpenPipe(const std::string &name, OsPipe &pipe);
void OsClosePipe(OsPipe pipe);
int OsPipeSize(OsPipe pipe);
int OsReadPipe(OsPipe pipe, void *to, int n);

// How much was written; -1 when the other end is gone, less than n when it would have to wait.
int OsWritePipe(OsPipe pipe, const void *from, int n);

void *OsFind(const char *library, const char *name);
