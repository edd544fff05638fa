// The calls declared in mql4.h: text, files and timers here, market and trades by broker_server.py.
//
// Environment: MQL4HOST_FD (a connected socket to the broker server; absent for programs that only
// compute, and on Windows, see os_windows.cpp), MQL4HOST_DATA (the folder that holds Files/ and Common/), MQL4HOST_INPUTS
// ("Name=value" lines), MQL4HOST_LIBZMQ (the library to load), MQL4HOST_DISK_BYTES (writes beyond
// this many bytes fail, as on a full disk), MQL4HOST_PIPES (the folder of the sockets that stand for
// named pipes).
#include "mql4.h"

static int last_error = 0;
static long clock_shift_ms = 0;
static volatile sig_atomic_t stopping = 0;
static int timer_ms = 0;

static void Note(const std::string &line) {
  fprintf(stdout, "%s\n", line.c_str());
  fflush(stdout);
}

[[noreturn]] void HostStop(const char *reason) {
  fflush(stdout);
  fprintf(stderr, "critical error: %s\n", reason);
  fflush(stderr);
  abort();  // the sanitizer prints the stack, with lines of the MQL4 source
}

// ---- UTF-8 ----------------------------------------------------------------------------------
static void PutUtf8(std::string &out, uint c) {
  if (c < 0x80) out += (char)c;
  else if (c < 0x800) { out += (char)(0xC0 | c >> 6); out += (char)(0x80 | (c & 63)); }
  else if (c < 0x10000) { out += (char)(0xE0 | c >> 12); out += (char)(0x80 | (c >> 6 & 63)); out += (char)(0x80 | (c & 63)); }
  else { out += (char)(0xF0 | c >> 18); out += (char)(0x80 | (c >> 12 & 63)); out += (char)(0x80 | (c >> 6 & 63)); out += (char)(0x80 | (c & 63)); }
}

static std::string Utf8(const string &s) {
  std::string out;
  for (size_t i = 0; i < s.v.size(); i++) {
    uint c = s.v[i];
    if (c >= 0xD800 && c < 0xDC00 && i + 1 < s.v.size() && (s.v[i + 1] & 0xFC00) == 0xDC00)
      c = 0x10000 + ((c & 0x3FF) << 10) + (s.v[++i] & 0x3FF);
    PutUtf8(out, (c & 0xF800) == 0xD800 ? 0xFFFD : c);
  }
  return out;
}

static string Utf16(const std::string &s) {  // of UTF-8 from our own server: well formed
  string out;
  for (size_t i = 0; i < s.size();) {
    uchar b = (uchar)s[i];
    int more = b < 0x80 ? 0 : b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
    uint c = more == 0 ? b : b & (0x3F >> more);
    for (int k = 1; k <= more && i + k < s.size(); k++) c = c << 6 | (s[i + k] & 63);
    i += 1 + more;
    if (c < 0x10000) out.v += (char16_t)c;
    else { out.v += (char16_t)(0xD800 + ((c - 0x10000) >> 10)); out.v += (char16_t)(0xDC00 + (c & 0x3FF)); }
  }
  return out;
}

// ---- the broker server ----------------------------------------------------------------------
static std::string unread;
static int pending_ticks = 0;

static bool ReadMore() {
  char chunk[65536];
  int n = OsReadBroker(chunk, sizeof chunk);
  if (n > 0) unread.append(chunk, (size_t)n);
  return n > 0;
}

static bool TakeLine(std::string &line) {
  size_t end = unread.find('\n');
  if (end == std::string::npos) return false;
  line = unread.substr(0, end);
  unread.erase(0, end + 1);
  return true;
}

static std::vector<std::string> Fields(const std::string &line) {
  std::vector<std::string> fields(1);
  for (size_t i = 0; i < line.size(); i++) {
    if (line[i] == '\t') fields.emplace_back();
    else if (line[i] == '\\' && i + 1 < line.size()) { char c = line[++i]; fields.back() += c == 't' ? '\t' : c == 'n' ? '\n' : c; }
    else fields.back() += line[i];
  }
  return fields;
}

static std::string Escaped(const std::string &s) {
  std::string out;
  for (char c : s) {
    if (c == '\\' || c == '\t' || c == '\n') { out += '\\'; out += c == '\t' ? 't' : c == '\n' ? 'n' : c; }
    else out += c;
  }
  return out;
}

struct Answer {
  std::vector<std::string> fields;
  const std::string &at(size_t i) const {
    if (i >= fields.size()) HostStop("the broker server's answer is too short");
    return fields[i];
  }
  long integer(size_t i = 0) const { return strtoll(at(i).c_str(), nullptr, 10); }
  double number(size_t i = 0) const { return strtod(at(i).c_str(), nullptr); }
  string text(size_t i = 0) const { return Utf16(at(i)); }
};

static void Add(std::string &line, const string &x) { line += '\t' + Escaped(Utf8(x)); }
static void Add(std::string &line, const char *x) { line += '\t' + Escaped(x); }
static void Add(std::string &line, long x) { line += '\t' + std::to_string(x); }
static void Add(std::string &line, int x) { line += '\t' + std::to_string(x); }
static void Add(std::string &line, bool x) { line += x ? "\t1" : "\t0"; }
static void Add(std::string &line, double x) {
  char text[40];
  snprintf(text, sizeof text, "\t%.17g", x);
  line += text;
}

static Answer Exchange(std::string line) {
  line += '\n';
  for (size_t sent = 0; sent < line.size();) {
    int n = OsWriteBroker(line.data() + sent, line.size() - sent);
    if (n <= 0) _exit(0);  // the tests are gone
    sent += (size_t)n;
  }
  for (;;) {
    std::string reply;
    while (!TakeLine(reply)) if (!ReadMore()) _exit(0);
    if (reply[0] == '!') { pending_ticks++; continue; }
    Answer answer{Fields(reply)};
    if (answer.fields.size() < 2) HostStop("the broker server's answer is malformed");
    clock_shift_ms = answer.integer(0);
    if (answer.integer(1) != 0) last_error = (int)answer.integer(1);
    answer.fields.erase(answer.fields.begin(), answer.fields.begin() + 2);
    return answer;
  }
}

template <class... A> static Answer Ask(const char *name, const A &...arguments) {
  std::string line = name;
  (Add(line, arguments), ...);
  return Exchange(line);
}

// ---- text -----------------------------------------------------------------------------------
int StringLen(const string &s) { return (int)s.v.size(); }
ushort StringGetCharacter(const string &s, int at) { return at < 0 || at >= StringLen(s) ? 0 : (ushort)s.v[at]; }
int StringFind(const string &s, const string &what, int from) {
  size_t p = from > StringLen(s) ? std::string::npos : s.v.find(what.v, (size_t)(from < 0 ? 0 : from));
  return p == std::string::npos ? -1 : (int)p;
}
string StringSubstr(const string &s, int from, int n) {
  if (from < 0 || from >= StringLen(s)) return string();
  return string(s.v.substr((size_t)from, n <= 0 ? std::u16string::npos : (size_t)n));
}
int StringReplace(string &s, const string &what, const string &with) {
  int n = 0;
  for (size_t p = 0; (p = s.v.find(what.v, p)) != std::u16string::npos; p += with.v.size(), n++) s.v.replace(p, what.v.size(), with.v);
  return n;
}
string StringTrimLeft(const string &s) {
  size_t p = s.v.find_first_not_of(u" \t\r\n");
  return p == std::u16string::npos ? string() : string(s.v.substr(p));
}
string StringTrimRight(const string &s) { return string(s.v.substr(0, s.v.find_last_not_of(u" \t\r\n") + 1)); }
int StringSplit(const string &s, ushort separator, arr<string> &parts) {
  parts.resize(0, 0);
  if (s.v.empty()) return 0;
  parts.resize(1, 0);
  for (char16_t c : s.v) {
    if (c == separator) parts.resize(parts.size() + 1, 0);
    else parts[parts.size() - 1].v += c;
  }
  return parts.size();
}
int StringToShortArray(const string &s, arr<ushort> &a, int at, int n) {
  int count = n == WHOLE_ARRAY ? StringLen(s) + 1 : n;  // with the terminating zero
  if (a.size() < at + count) a.resize(at + count, 0);
  for (int i = 0; i < count; i++) a.put(at + i, StringGetCharacter(s, i));
  return count;
}
string ShortArrayToString(const arr<ushort> &a, int at, int n) {
  string s;
  for (int i = at; i < a.size() && (n == WHOLE_ARRAY || i < at + n) && a.get(i) != 0; i++) s.v += (char16_t)a.get(i);
  return s;
}
int StringToCharArray(const string &s, arr<uchar> &a, int at, int n, uint codepage) {
  std::string bytes = Utf8(s);
  if (codepage != CP_UTF8) HostStop("StringToCharArray: the host knows CP_UTF8 only");
  int count = n == WHOLE_ARRAY ? (int)bytes.size() + 1 : n < (int)bytes.size() ? n : (int)bytes.size();
  if (a.size() < at + count) a.resize(at + count, 0);
  for (int i = 0; i < count; i++) a.put(at + i, (uchar)bytes.c_str()[i]);
  return count;
}
string CharArrayToString(const arr<uchar> &a, int at, int n, uint codepage) {
  std::string bytes;
  if (codepage != CP_UTF8) HostStop("CharArrayToString: the host knows CP_UTF8 only");
  for (int i = at; i < a.size() && (n == WHOLE_ARRAY || i < at + n) && a.get(i) != 0; i++) bytes += (char)a.get(i);
  return Utf16(bytes);
}
string IntegerToString(long x, int width, ushort fill) {
  std::string s = std::to_string(x);
  if ((int)s.size() < width) s.insert(0, (size_t)width - s.size(), (char)fill);
  return string(s.c_str());
}
string DoubleToString(double x, int digits) {
  char text[400];
  snprintf(text, sizeof text, "%.*f", digits, x);
  return string(text);
}
long StringToInteger(const string &s) { return strtoll(Utf8(s).c_str(), nullptr, 10); }
double StringToDouble(const string &s) { return strtod(Utf8(s).c_str(), nullptr); }
string TimeToString(datetime t, int flags) {
  char text[64], clock[32] = "";
  struct tm parts = OsUtc((time_t)t);
  strftime(text, sizeof text, flags & TIME_DATE ? "%Y.%m.%d" : "", &parts);
  if (flags & (TIME_MINUTES | TIME_SECONDS)) strftime(clock, sizeof clock, flags & TIME_SECONDS ? "%H:%M:%S" : "%H:%M", &parts);
  return string(text) + (text[0] && clock[0] ? " " : "") + clock;
}
void Print(const string &text) { Note(Utf8(text)); }
void Alert(const string &text) { Note("Alert: " + Utf8(text)); }
void Comment(const string &text) { Note("Comment: " + Utf8(text)); }

// ---- numbers --------------------------------------------------------------------------------
int MathMax(int a, int b) { return a > b ? a : b; }
long MathMax(long a, long b) { return a > b ? a : b; }
double MathMax(double a, double b) { return a > b ? a : b; }
int MathMin(int a, int b) { return a < b ? a : b; }
long MathMin(long a, long b) { return a < b ? a : b; }
double MathMin(double a, double b) { return a < b ? a : b; }
double MathAbs(double x) { return fabs(x); }
double MathRound(double x) { return round(x); }
double MathFloor(double x) { return floor(x); }
double MathCeil(double x) { return ceil(x); }
double MathPow(double x, double y) { return pow(x, y); }
bool MathIsValidNumber(double x) { return isfinite(x); }
double NormalizeDouble(double x, int digits) {
  char text[400];
  snprintf(text, sizeof text, "%.*f", digits, x);
  return strtod(text, nullptr);
}
int MathRand() { return rand() % 32768; }
void MathSrand(int seed) { srand((uint)seed); }

// ---- program, time, terminal ----------------------------------------------------------------
static long MonotonicUs() { return OsMonotonicUs(); }
static const long started_us = MonotonicUs();

int GetLastError() { int code = last_error; last_error = 0; return code; }
void ResetLastError() { last_error = 0; }
bool IsStopped() { return stopping; }
void ExpertRemove() { stopping = 1; }
bool EventSetMillisecondTimer(int ms) { timer_ms = ms < 1 ? 1 : ms; return true; }
void EventKillTimer() { timer_ms = 0; }
ulong dll_kernel32::GetTickCount64() { return (ulong)(MonotonicUs() / 1000 + clock_shift_ms); }
void Sleep(int ms) { OsSleepMs(ms); }
struct ChartEvent { int id; long lparam; double dparam; string sparam; };
static std::vector<ChartEvent> chart_events;
bool EventChartCustom(long, ushort id, long lparam, double dparam, const string &sparam) {
  chart_events.push_back({CHARTEVENT_CUSTOM + id, lparam, dparam, string(sparam.v.substr(0, 63))});
  return true;
}
uint GetTickCount() { return (uint)dll_kernel32::GetTickCount64(); }
ulong GetMicrosecondCount() { return (ulong)(MonotonicUs() - started_us + clock_shift_ms * 1000); }
datetime TimeCurrent() { return Ask("TimeCurrent").integer(); }
datetime TimeLocal() { return Ask("TimeLocal").integer(); }
datetime TimeGMT() { return Ask("TimeGMT").integer(); }
bool IsConnected() { return Ask("IsConnected").integer(); }
bool IsTradeAllowed() { return Ask("IsTradeAllowed").integer(); }
bool IsTradeAllowed(const string &symbol, datetime at) { return Ask("IsTradeAllowed", symbol, at).integer(); }
bool IsTradeContextBusy() { return Ask("IsTradeContextBusy").integer(); }
bool IsDllsAllowed() { return true; }
int TerminalInfoInteger(ENUM_TERMINAL_INFO_INTEGER id) { return (int)Ask("TerminalInfoInteger", (int)id).integer(); }
string TerminalInfoString(ENUM_TERMINAL_INFO_STRING id) { return Ask("TerminalInfoString", (int)id).text(); }
int MQLInfoInteger(ENUM_MQL_INFO_INTEGER id) { return (int)Ask("MQLInfoInteger", (int)id).integer(); }
bool GlobalVariableCheck(const string &name) { return Ask("GlobalVariableCheck", name).integer(); }
double GlobalVariableGet(const string &name) { return Ask("GlobalVariableGet", name).number(); }
datetime GlobalVariableSet(const string &name, double x) { return Ask("GlobalVariableSet", name, x).integer(); }
bool GlobalVariableDel(const string &name) { return Ask("GlobalVariableDel", name).integer(); }
void GlobalVariablesFlush() {}  // the broker server outlives the program, as a terminal does

// ---- named pipes ----------------------------------------------------------------------------
// In MetaTrader a read of more than is there waits, and so does a write into a full pipe. Programs of
// ours must do neither, so here it is a mistake. So is a change of direction without flush and seek.
struct Pipe { OsPipe pipe; bool has_turned; bool was_writing; };
static const long LONGEST_WRITE_US = 2000000;
static std::map<int, Pipe> open_pipes;
static std::map<int, FILE *> open_files;
static const std::string pipe_prefix = "\\\\.\\pipe\\";

static int FreeHandle() {
  int handle = 0;
  while (open_files.count(handle) || open_pipes.count(handle)) handle++;
  return handle;
}
static Pipe *OpenedPipe(int handle) {
  auto found = open_pipes.find(handle);
  return found == open_pipes.end() ? nullptr : &found->second;
}
static int OpenPipe(const std::string &name) {
  Pipe opened = {OsPipe(), true, false};
  if (!OsOpenPipe(name, opened.pipe)) { last_error = 5004; return INVALID_HANDLE; }
  int handle = FreeHandle();
  open_pipes[handle] = opened;
  return handle;
}
static ulong PipeSize(const Pipe &pipe) { return (ulong)OsPipeSize(pipe.pipe); }
static void UsePipe(Pipe &pipe, bool writes) {
  if (pipe.was_writing != writes && !pipe.has_turned) HostStop("host: mistake: a pipe changes direction without flush and seek");
  pipe.was_writing = writes;
  pipe.has_turned = false;
}
static uint ReadPipe(Pipe &pipe, uchar *to, size_t n) {
  UsePipe(pipe, false);
  if (n > PipeSize(pipe)) HostStop("host: mistake: a read of a pipe that would wait");
  int got = OsReadPipe(pipe.pipe, to, (int)n);
  return got > 0 ? (uint)got : 0;
}
static uint WritePipe(Pipe &pipe, const uchar *from, size_t n) {
  UsePipe(pipe, true);
  long since_us = MonotonicUs();
  int done = OsWritePipe(pipe.pipe, from, (int)n);
  if (done < 0) { last_error = 5016; return 0; }
  if (done < (int)n || MonotonicUs() - since_us > LONGEST_WRITE_US) HostStop("host: mistake: a write into a pipe that waits");
  return (uint)done;
}

// ---- files ----------------------------------------------------------------------------------
static long disk_bytes_left = getenv("MQL4HOST_DISK_BYTES") ? strtoll(getenv("MQL4HOST_DISK_BYTES"), nullptr, 10) : -1;

static std::string PathOf(const string &name, int flags) {
  const char *data = getenv("MQL4HOST_DATA");
  std::string path = Utf8(name);
  for (char &c : path) if (c == '\\') c = '/';
  if (path.find("..") != std::string::npos) HostStop("a file outside the sandbox");
  return std::string(data ? data : ".") + (flags & FILE_COMMON ? "/Common/Files/" : "/Files/") + path;
}
static bool MakeFolders(const std::string &path) {
  for (size_t p = 1; (p = path.find('/', p)) != std::string::npos; p++) OsMakeFolder(path.substr(0, p));
  return true;
}
static FILE *Opened(int handle) {
  auto found = open_files.find(handle);
  if (found == open_files.end()) { last_error = 5008; return nullptr; }
  return found->second;
}
int FileOpen(const string &name, int flags) {
  if (!(flags & FILE_BIN)) HostStop("FileOpen: the host knows FILE_BIN only");
  if (Utf8(name).compare(0, pipe_prefix.size(), pipe_prefix) == 0) return OpenPipe(Utf8(name).substr(pipe_prefix.size()));
  std::string path = PathOf(name, flags);
  bool reads = flags & FILE_READ, writes = flags & FILE_WRITE;
  if (writes) MakeFolders(path);
  FILE *file = OsOpen(path, reads, writes, flags & (FILE_SHARE_READ | FILE_SHARE_WRITE));
  if (!file) { last_error = 5004; return INVALID_HANDLE; }
  int handle = FreeHandle();
  open_files[handle] = file;
  return handle;
}
void FileClose(int handle) {
  if (Pipe *pipe = OpenedPipe(handle)) { OsClosePipe(pipe->pipe); open_pipes.erase(handle); return; }
  if (FILE *f = Opened(handle)) { fclose(f); open_files.erase(handle); }
}
void FileFlush(int handle) { if (OpenedPipe(handle)) return; if (FILE *f = Opened(handle)) fflush(f); }
ulong FileTell(int handle) { FILE *f = Opened(handle); return f ? (ulong)ftell(f) : 0; }
bool FileSeek(int handle, long offset, int origin) {
  if (Pipe *pipe = OpenedPipe(handle)) { pipe->has_turned = true; return true; }
  FILE *f = Opened(handle);
  return f && fseek(f, offset, origin) == 0;
}
ulong FileSize(int handle) {
  if (Pipe *pipe = OpenedPipe(handle)) return PipeSize(*pipe);
  FILE *f = Opened(handle);
  if (!f) return 0;
  long at = ftell(f);
  fseek(f, 0, 2);
  ulong size = (ulong)ftell(f);
  fseek(f, at, 0);
  return size;
}
bool FileIsExist(const string &name, int common) {
  if (OsExists(PathOf(name, common))) return true;
  last_error = 5020;
  return false;
}
bool FileDelete(const string &name, int common) { return OsDelete(PathOf(name, common)) || (last_error = 5019, false); }
bool FileMove(const string &from, int common, const string &to, int flags) {
  std::string target = PathOf(to, flags & FILE_COMMON);
  if (OsExists(target) && !(flags & FILE_REWRITE)) { last_error = 5019; return false; }
  return OsMove(PathOf(from, common), target) || (last_error = 5019, false);
}
bool FolderCreate(const string &name, int common) { return MakeFolders(PathOf(name, common) + "/"); }
uint FileReadArray(int handle, arr<uchar> &a, int at, int n) {
  Pipe *pipe = OpenedPipe(handle);
  FILE *f = pipe ? nullptr : Opened(handle);
  if ((!pipe && !f) || n == 0) return 0;
  int room = n == WHOLE_ARRAY ? (int)(FileSize(handle) - FileTell(handle)) : n;
  if (a.size() < at + room) a.resize(at + room, 0);
  size_t got = pipe ? ReadPipe(*pipe, a.v.data() + at, (size_t)room) : fread(a.v.data() + at, 1, (size_t)room, f);
  for (size_t i = 0; i < got; i++) a.written[(size_t)at + i] = 1;
  return (uint)got;
}
uint FileWriteArray(int handle, const arr<uchar> &a, int at, int n) {
  Pipe *pipe = OpenedPipe(handle);
  FILE *f = pipe ? nullptr : Opened(handle);
  if (n == WHOLE_ARRAY) n = a.size() - at;
  if (at < 0 || n < 0 || at + n > a.size()) HostStop("array out of range");
  for (int i = at; i < at + n; i++) a.get(i);
  if (pipe) return WritePipe(*pipe, a.v.data() + at, (size_t)n);
  int allowed = disk_bytes_left < 0 || disk_bytes_left > n ? n : (int)disk_bytes_left;
  if (disk_bytes_left >= 0) disk_bytes_left -= allowed;
  if (allowed < n) last_error = 5026;
  return f ? (uint)fwrite(a.v.data() + at, 1, (size_t)allowed, f) : 0;
}

// ---- market and account ---------------------------------------------------------------------
#define HOST_CASE(n, x) case x: return #n;
#define HOST_NAMES(name, items) \
  string EnumToString(name x) { switch ((int)x) { items(HOST_CASE) default: return string(#name "::") + IntegerToString((int)x); } }
HOST_NAMES(ENUM_ACCOUNT_INFO_INTEGER, HOST_ACCOUNT_INTEGER)
HOST_NAMES(ENUM_ACCOUNT_INFO_DOUBLE, HOST_ACCOUNT_DOUBLE)
HOST_NAMES(ENUM_SYMBOL_INFO_INTEGER, HOST_SYMBOL_INTEGER)
HOST_NAMES(ENUM_SYMBOL_INFO_DOUBLE, HOST_SYMBOL_DOUBLE)
HOST_NAMES(ENUM_SYMBOL_INFO_STRING, HOST_SYMBOL_STRING)
HOST_NAMES(ENUM_MARKETINFO, HOST_MARKETINFO)

long AccountInfoInteger(int id) { return Ask("AccountInfoInteger", id).integer(); }
double AccountInfoDouble(int id) { return Ask("AccountInfoDouble", id).number(); }
string AccountInfoString(int id) { return Ask("AccountInfoString", id).text(); }
int AccountNumber() { return (int)AccountInfoInteger(ACCOUNT_LOGIN); }
string AccountServer() { return AccountInfoString(ACCOUNT_SERVER); }
double AccountBalance() { return AccountInfoDouble(ACCOUNT_BALANCE); }
double AccountEquity() { return AccountInfoDouble(ACCOUNT_EQUITY); }
double AccountMargin() { return AccountInfoDouble(ACCOUNT_MARGIN); }
double AccountFreeMargin() { return AccountInfoDouble(ACCOUNT_MARGIN_FREE); }
double AccountProfit() { return AccountInfoDouble(ACCOUNT_PROFIT); }
string AccountCurrency() { return AccountInfoString(ACCOUNT_CURRENCY); }
string Symbol() { return Ask("Symbol").text(); }
int SymbolsTotal(bool selected) { return (int)Ask("SymbolsTotal", selected).integer(); }
string SymbolName(int at, bool selected) { return Ask("SymbolName", at, selected).text(); }
bool SymbolSelect(const string &symbol, bool select) { return Ask("SymbolSelect", symbol, select).integer(); }
template <class T, class Take> static bool Property(const char *call, const string &symbol, int id, T &x, Take take) {
  Answer a = Ask(call, symbol, id);
  if (a.fields.empty()) return false;
  x = take(a);
  return true;
}
bool SymbolInfoInteger(const string &symbol, int id, long &x) {
  return Property("SymbolInfoInteger", symbol, id, x, [](const Answer &a) { return a.integer(); });
}
bool SymbolInfoDouble(const string &symbol, int id, double &x) {
  return Property("SymbolInfoDouble", symbol, id, x, [](const Answer &a) { return a.number(); });
}
bool SymbolInfoString(const string &symbol, int id, string &x) {
  return Property("SymbolInfoString", symbol, id, x, [](const Answer &a) { return a.text(); });
}
long SymbolInfoInteger(const string &symbol, int id) { long x = 0; SymbolInfoInteger(symbol, id, x); return x; }
double SymbolInfoDouble(const string &symbol, int id) { double x = 0; SymbolInfoDouble(symbol, id, x); return x; }
bool SymbolInfoTick(const string &symbol, MqlTick &tick) {
  Answer a = Ask("SymbolInfoTick", symbol);
  if (a.fields.empty()) return false;
  tick = MqlTick{a.integer(0), a.number(1), a.number(2), a.number(3), (ulong)a.integer(4)};
  return true;
}
double MarketInfo(const string &symbol, int id) { return Ask("MarketInfo", symbol, id).number(); }
bool RefreshRates() { return Ask("RefreshRates").integer(); }
long iVolume(const string &symbol, int timeframe, int shift) { return Ask("iVolume", symbol, timeframe, shift).integer(); }
datetime iTime(const string &symbol, int timeframe, int shift) { return Ask("iTime", symbol, timeframe, shift).integer(); }
int CopyRates(const string &symbol, ENUM_TIMEFRAMES timeframe, datetime start, int count, arr<MqlRates> &rates) {
  Answer a = Ask("CopyRates", symbol, (int)timeframe, start, count);
  if (a.fields.empty()) return -1;
  int n = (int)a.integer(0);
  rates.resize(n, 0);
  for (int i = 0; i < n; i++) {
    size_t k = 1 + 6 * (size_t)i;
    rates[i] = MqlRates{a.integer(k), a.number(k + 1), a.number(k + 2), a.number(k + 3), a.number(k + 4), a.integer(k + 5), 0, 0};
  }
  return n;
}
int SignalBaseTotal() { return (int)Ask("SignalBaseTotal").integer(); }
bool SignalBaseSelect(int at) { return Ask("SignalBaseSelect", at).integer(); }
long SignalBaseGetInteger(ENUM_SIGNAL_BASE_INTEGER id) { return Ask("SignalBaseGetInteger", (int)id).integer(); }
double SignalBaseGetDouble(ENUM_SIGNAL_BASE_DOUBLE id) { return Ask("SignalBaseGetDouble", (int)id).number(); }
string SignalBaseGetString(ENUM_SIGNAL_BASE_STRING id) { return Ask("SignalBaseGetString", (int)id).text(); }

// ---- orders ---------------------------------------------------------------------------------
static Answer selected_order;

int OrderSend(const string &symbol, int type, double lots, double price, int slippage, double sl, double tp,
              const string &comment, int magic, datetime expiration, color) {
  return (int)Ask("OrderSend", symbol, type, lots, price, slippage, sl, tp, comment, magic, expiration).integer();
}
bool OrderModify(int ticket, double price, double sl, double tp, datetime expiration, color) {
  return Ask("OrderModify", ticket, price, sl, tp, expiration).integer();
}
bool OrderClose(int ticket, double lots, double price, int slippage, color) {
  return Ask("OrderClose", ticket, lots, price, slippage).integer();
}
bool OrderDelete(int ticket, color) { return Ask("OrderDelete", ticket).integer(); }
bool OrderSelect(int at, int select, int pool) {
  Answer a = Ask("OrderSelect", at, select, pool);
  if (a.fields.empty()) return false;
  selected_order = a;
  return true;
}
int OrdersTotal() { return (int)Ask("OrdersTotal").integer(); }
int OrdersHistoryTotal() { return (int)Ask("OrdersHistoryTotal").integer(); }
static const Answer &Selected() {
  if (selected_order.fields.empty()) HostStop("an order call without a selected order");
  return selected_order;
}
int OrderTicket() { return (int)Selected().integer(0); }
int OrderMagicNumber() { return (int)Selected().integer(1); }
string OrderSymbol() { return Selected().text(2); }
int OrderType() { return (int)Selected().integer(3); }
double OrderLots() { return Selected().number(4); }
double OrderOpenPrice() { return Selected().number(5); }
double OrderClosePrice() { return Selected().number(6); }
datetime OrderOpenTime() { return Selected().integer(7); }
datetime OrderCloseTime() { return Selected().integer(8); }
datetime OrderExpiration() { return Selected().integer(9); }
double OrderStopLoss() { return Selected().number(10); }
double OrderTakeProfit() { return Selected().number(11); }
double OrderProfit() { return Selected().number(12); }
double OrderCommission() { return Selected().number(13); }
double OrderSwap() { return Selected().number(14); }
string OrderComment() { return Selected().text(15); }

double HostIndicator(const char *name, std::initializer_list<string> arguments) {
  std::string line = "Indicator";
  Add(line, name);
  for (const string &a : arguments) Add(line, a);
  return Exchange(line).number();
}

// ---- libzmq ---------------------------------------------------------------------------------
namespace dll_libzmq {
static std::map<int, void *> handles;  // MT4 is a 32-bit process: its programs hold pointers as int
static int next_handle = 1;

static void *Symbol(const char *name) {
  void *f = OsFind(getenv("MQL4HOST_LIBZMQ"), name);
  if (!f) HostStop("libzmq (MQL4HOST_LIBZMQ) is not there, or lacks a call");
  return f;
}
static int Keep(void *pointer) { if (pointer) handles[next_handle] = pointer; return pointer ? next_handle++ : 0; }
static void *Held(int handle) { auto f = handles.find(handle); return f == handles.end() ? nullptr : f->second; }
#define ZMQ_CALL(type, name) ((type)Symbol(name))
static void CheckBytes(const arr<uchar> &a, int n) {
  if (n < 0 || n > a.size()) HostStop("a size beyond the array was given to libzmq");
  for (int i = 0; i < n; i++) a.get(i);
}
static const char *Endpoint(const arr<uchar> &a) {
  CheckBytes(a, a.size());
  if (a.size() == 0 || a.get(a.size() - 1) != 0) HostStop("an endpoint without a terminating zero was given to libzmq");
  return (const char *)a.v.data();
}
int zmq_ctx_new() { return Keep(ZMQ_CALL(void *(*)(), "zmq_ctx_new")()); }
int zmq_ctx_term(int context) { return ZMQ_CALL(int (*)(void *), "zmq_ctx_term")(Held(context)); }
int zmq_socket(int context, int type) { return Keep(ZMQ_CALL(void *(*)(void *, int), "zmq_socket")(Held(context), type)); }
int zmq_close(int socket) { return ZMQ_CALL(int (*)(void *), "zmq_close")(Held(socket)); }
int zmq_bind(int socket, const arr<uchar> &endpoint) {
  return ZMQ_CALL(int (*)(void *, const char *), "zmq_bind")(Held(socket), Endpoint(endpoint));
}
int zmq_connect(int socket, const arr<uchar> &endpoint) {
  return ZMQ_CALL(int (*)(void *, const char *), "zmq_connect")(Held(socket), Endpoint(endpoint));
}
int zmq_setsockopt(int socket, int option, const arr<uchar> &value, int size) {
  CheckBytes(value, size);
  return ZMQ_CALL(int (*)(void *, int, const void *, size_t), "zmq_setsockopt")(Held(socket), option, value.v.data(), (size_t)size);
}
int zmq_getsockopt(int socket, int option, arr<uchar> &value, arr<int> &size) {
  size_t n = (size_t)size.get(0);
  if ((int)n > value.size()) HostStop("a size beyond the array was given to libzmq");
  int rc = ZMQ_CALL(int (*)(void *, int, void *, size_t *), "zmq_getsockopt")(Held(socket), option, value.v.data(), &n);
  size.put(0, (int)n);
  for (size_t i = 0; rc == 0 && i < n; i++) value.written[i] = 1;
  return rc;
}
int zmq_recv(int socket, arr<uchar> &buffer, int size, int flags) {
  if (size > buffer.size()) HostStop("a size beyond the array was given to libzmq");
  int n = ZMQ_CALL(int (*)(void *, void *, size_t, int), "zmq_recv")(Held(socket), buffer.v.data(), (size_t)size, flags);
  for (int i = 0; i < n && i < size; i++) buffer.written[(size_t)i] = 1;
  return n;
}
int zmq_send(int socket, const arr<uchar> &buffer, int size, int flags) {
  CheckBytes(buffer, size);
  return ZMQ_CALL(int (*)(void *, const void *, size_t, int), "zmq_send")(Held(socket), buffer.v.data(), (size_t)size, flags);
}
int zmq_errno() { return ZMQ_CALL(int (*)(), "zmq_errno")(); }
}  // namespace dll_libzmq

// ---- inputs and the main loop ---------------------------------------------------------------
static const char *InputText(const char *name) {
  static std::map<std::string, std::string> inputs = [] {
    std::map<std::string, std::string> found;
    const char *text = getenv("MQL4HOST_INPUTS");
    for (const char *line = text ? text : ""; *line;) {
      const char *end = line + strcspn(line, "\n"), *equals = strchr(line, '=');
      if (equals && equals < end) found[std::string(line, equals)] = std::string(equals + 1, end);
      line = *end ? end + 1 : end;
    }
    return found;
  }();
  auto f = inputs.find(name);
  return f == inputs.end() ? nullptr : f->second.c_str();
}
void HostInput(const char *name, bool &x) { if (const char *t = InputText(name)) x = !strcmp(t, "true"); }
void HostInput(const char *name, int &x) { if (const char *t = InputText(name)) x = atoi(t); }
void HostInput(const char *name, double &x) { if (const char *t = InputText(name)) x = atof(t); }
void HostInput(const char *name, string &x) { if (const char *t = InputText(name)) x = Utf16(t); }

static void RunTicks(const HostProgram &program) {
  if (pending_ticks == 0) return;
  pending_ticks = 0;  // MT4 queues at most one tick event
  if (program.tick) program.tick();
}

static void RunChartEvents(const HostProgram &program) {
  std::vector<ChartEvent> events;
  events.swap(chart_events);
  for (const ChartEvent &e : events) if (program.chart_event) program.chart_event(e.id, e.lparam, e.dparam, e.sparam);
}

static void WaitForEvent(long until_us) {
  long left_us = until_us - MonotonicUs();
  if (!OsWaitForBroker(timer_ms <= 0 ? -1 : left_us > 0 ? left_us : 0)) return;
  if (!ReadMore()) _exit(0);
  for (std::string line; TakeLine(line);) if (line[0] == '!') pending_ticks++;
}

static void Loop(const HostProgram &program) {
  long next_us = MonotonicUs() + timer_ms * 1000L;
  while (!stopping) {
    WaitForEvent(next_us);
    RunTicks(program);
    RunChartEvents(program);
    if (timer_ms == 0 || !program.timer || MonotonicUs() < next_us) continue;
    program.timer();
    next_us = MonotonicUs() + timer_ms * 1000L;  // a late timer event is not made up for
  }
}

int HostMain(const HostProgram &program) {
  OsOnTerminate([](int) { stopping = 1; });
  int result = program.init();
  Note("host: OnInit returned " + std::to_string(result));
  if (result == INIT_SUCCEEDED && (program.timer || program.tick)) Loop(program);
  if (program.deinit) program.deinit(1);
  Note("host: stopped");
  return result == INIT_SUCCEEDED ? 0 : 3;
}
