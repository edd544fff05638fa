// os.h for Windows, and Wine. A named pipe is one here.
#include "os.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <direct.h>
#include <io.h>
#include <share.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// ---- time -----------------------------------------------------------------------------------
int64_t OsMonotonicUs() {
  LARGE_INTEGER ticks, per_s;
  QueryPerformanceCounter(&ticks);
  QueryPerformanceFrequency(&per_s);
  return ticks.QuadPart / per_s.QuadPart * 1000000 + ticks.QuadPart % per_s.QuadPart * 1000000 / per_s.QuadPart;
}
void OsSleepMs(int ms) { Sleep((DWORD)ms); }
struct tm OsUtc(time_t seconds) {
  struct tm parts;
  gmtime_s(&parts, &seconds);
  return parts;
}
void OsOnTerminate(void (*)(int)) {}  // who ends it, kills it

// ---- the line to the broker server: standard input, and marked lines of standard output --------
// No socket: a program that is killed in a call on one takes Wine's server with it.
static CRITICAL_SECTION heard_lock;
static HANDLE heard_event;
static std::string heard;

static DWORD WINAPI Listen(void *) {
  char chunk[65536];
  for (DWORD n = 0; ReadFile(GetStdHandle(STD_INPUT_HANDLE), chunk, sizeof chunk, &n, nullptr) && n > 0;) {
    EnterCriticalSection(&heard_lock);
    heard.append(chunk, n);
    LeaveCriticalSection(&heard_lock);
    SetEvent(heard_event);
  }
  ExitProcess(0);  // the tests are gone
}
bool OsHasBroker() {
  static bool is_listening = [] {
    InitializeCriticalSection(&heard_lock);
    heard_event = CreateEventA(nullptr, FALSE, FALSE, nullptr);
    return CreateThread(nullptr, 0, Listen, nullptr, 0, nullptr) != nullptr;
  }();
  return is_listening;
}
static bool HasHeard() {
  EnterCriticalSection(&heard_lock);
  bool has_heard = !heard.empty();
  LeaveCriticalSection(&heard_lock);
  return has_heard;
}
bool OsWaitForBroker(int64_t left_us) {
  OsHasBroker();
  if (HasHeard()) return true;
  WaitForSingleObject(heard_event, left_us < 0 ? INFINITE : (DWORD)((left_us + 999) / 1000));
  return HasHeard();  // the event may be of what was read already
}
int OsReadBroker(char *to, size_t n) {
  while (!OsWaitForBroker(-1)) continue;
  EnterCriticalSection(&heard_lock);
  size_t count = heard.size() < n ? heard.size() : n;
  memcpy(to, heard.data(), count);
  heard.erase(0, count);
  LeaveCriticalSection(&heard_lock);
  return (int)count;
}
int OsWriteBroker(const char *from, size_t n) {
  fputc(1, stdout);
  size_t done = fwrite(from, 1, n, stdout);
  return fflush(stdout) == 0 ? (int)done : -1;
}

// ---- files ----------------------------------------------------------------------------------
void OsMakeFolder(const std::string &path) { _mkdir(path.c_str()); }
bool OsExists(const std::string &path) { return _access(path.c_str(), 0) == 0; }
bool OsDelete(const std::string &path) { return DeleteFileA(path.c_str()); }
bool OsMove(const std::string &from, const std::string &to) {
  return MoveFileExA(from.c_str(), to.c_str(), MOVEFILE_REPLACE_EXISTING);
}
FILE *OsOpen(const std::string &path, bool reads, bool writes, bool shares) {
  if (writes && !OsExists(path)) { FILE *made = fopen(path.c_str(), "wb"); if (made) fclose(made); }
  return _fsopen(path.c_str(), reads && writes ? "r+b" : writes ? "wb" : "rb", shares ? _SH_DENYNO : _SH_DENYRW);
}

// ---- named pipes ----------------------------------------------------------------------------
bool OsOpenPipe(const std::string &name, OsPipe &pipe) {
  std::string path = "\\\\.\\pipe\\" + name;
  HANDLE opened = CreateFileA(path.c_str(), GENERIC_READ | GENERIC_WRITE, 0, nullptr, OPEN_EXISTING, 0, nullptr);
  pipe = (OsPipe)opened;
  return opened != INVALID_HANDLE_VALUE;
}
void OsClosePipe(OsPipe pipe) { CloseHandle((HANDLE)pipe); }
int OsPipeSize(OsPipe pipe) {
  DWORD waiting = 0;
  return PeekNamedPipe((HANDLE)pipe, nullptr, 0, nullptr, &waiting, nullptr) ? (int)waiting : 0;
}
int OsReadPipe(OsPipe pipe, void *to, int n) {
  DWORD got = 0;
  return ReadFile((HANDLE)pipe, to, (DWORD)n, &got, nullptr) ? (int)got : -1;
}
int OsWritePipe(OsPipe pipe, const void *from, int n) {
  DWORD done = 0;
  return WriteFile((HANDLE)pipe, from, (DWORD)n, &done, nullptr) ? (int)done : -1;
}

// ---- libraries ------------------------------------------------------------------------------
void *OsFind(const char *library, const char *name) {
  static HMODULE loaded = library ? LoadLibraryA(library) : nullptr;
  return loaded ? (void *)GetProcAddress(loaded, name) : nullptr;
}
