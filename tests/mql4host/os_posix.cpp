// os.h for Linux and the like. The line to the broker server is a socket that was inherited; named pipes
// are Unix sockets in the folder MQL4HOST_PIPES.
#include "os.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// ---- time -----------------------------------------------------------------------------------
int64_t OsMonotonicUs() {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * (int64_t)1000000 + t.tv_nsec / 1000;
}
void OsSleepMs(int ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  nanosleep(&t, nullptr);
}
struct tm OsUtc(time_t seconds) {
  struct tm parts;
  gmtime_r(&seconds, &parts);
  return parts;
}
void OsOnTerminate(void (*handler)(int)) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTERM, handler);
}

// ---- the line to the broker server: a socket that was inherited -----------------------------
static int OsBroker() {
  static const char *text = getenv("MQL4HOST_FD");
  return text ? atoi(text) : -1;
}
bool OsHasBroker() { return OsBroker() >= 0; }
int OsReadBroker(char *to, size_t n) { return (int)read(OsBroker(), to, n); }
int OsWriteBroker(const char *from, size_t n) { return (int)write(OsBroker(), from, n); }

bool OsWaitForBroker(int64_t left_us) {
  struct pollfd broker = {OsBroker(), POLLIN, 0};
  struct timespec wait = {left_us / 1000000, left_us % 1000000 * 1000};
  return ppoll(&broker, OsHasBroker() ? 1 : 0, left_us >= 0 ? &wait : nullptr, nullptr) > 0;
}

// ---- files ----------------------------------------------------------------------------------
void OsMakeFolder(const std::string &path) { mkdir(path.c_str(), 0777); }
bool OsExists(const std::string &path) {
  struct stat s;
  return stat(path.c_str(), &s) == 0;
}
bool OsDelete(const std::string &path) { return unlink(path.c_str()) == 0; }
bool OsMove(const std::string &from, const std::string &to) { return rename(from.c_str(), to.c_str()) == 0; }

FILE *OsOpen(const std::string &path, bool reads, bool writes, bool shares) {
  int mode = (reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY) | (writes ? O_CREAT : 0) | O_CLOEXEC;
  int fd = open(path.c_str(), mode, 0666);
  if (fd < 0) return nullptr;
  bool is_ours = flock(fd, (shares ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0;
  if (!is_ours || (writes && !reads && ftruncate(fd, 0) != 0)) { close(fd); return nullptr; }
  return fdopen(fd, reads && writes ? "r+" : writes ? "w" : "r");
}

// ---- named pipes ----------------------------------------------------------------------------
bool OsOpenPipe(const std::string &name, OsPipe &pipe) {
  const char *folder = getenv("MQL4HOST_PIPES");
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "%s/%s.pipe", folder ? folder : ".", name.c_str());
  int opened = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  pipe = opened;
  if (connect(opened, (struct sockaddr *)&address, sizeof address) == 0) return true;
  close(opened);
  return false;
}
void OsClosePipe(OsPipe pipe) { close((int)pipe); }
int OsPipeSize(OsPipe pipe) {
  int waiting = 0;
  return ioctl((int)pipe, FIONREAD, &waiting) == 0 ? waiting : 0;
}
int OsReadPipe(OsPipe pipe, void *to, int n) { return (int)recv((int)pipe, to, (size_t)n, MSG_DONTWAIT); }

int OsWritePipe(OsPipe pipe, const void *from, int n) {
  int done = (int)send((int)pipe, from, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
  return done < 0 && errno == EAGAIN ? 0 : done;
}

// ---- libraries ------------------------------------------------------------------------------
void *OsFind(const char *library, const char *name) {
  static void *loaded = library ? dlopen(library, RTLD_NOW | RTLD_GLOBAL) : nullptr;
  return loaded ? dlsym(loaded, name) : nullptr;
}
