// MQL4's types and calls for translated programs (see translate.py).
//
// What MT4 does at run time and C++ does not is done here: an array index out of range, a zero
// divide (by the sanitizer) and the use of an element that was never written stop the program.
// Calls are defined in mql4.cpp; those that ask the market or trade go to broker_server.py.
// A call that is not declared here is one the tests refuse (test_sources.py).
#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

#ifdef _WIN32
#define long long long  // after all headers: Windows' own has 32 bits
#endif

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;  // 64 bits on the hosts we build for
typedef long datetime;
typedef int color;
static_assert(sizeof(long) == 8, "MQL4's long has 64 bits");

[[noreturn]] void HostStop(const char *reason);

// ---- string: UTF-16, as in MQL4 -------------------------------------------------------------
struct string {
  std::u16string v;
  string() {}
  string(const char *ascii) : v(ascii, ascii + std::char_traits<char>::length(ascii)) {}
  explicit string(std::u16string units) : v(std::move(units)) {}
  string &operator+=(const string &o) { v += o.v; return *this; }
  friend string operator+(const string &a, const string &b) { return string(a.v + b.v); }
  friend bool operator==(const string &a, const string &b) { return a.v == b.v; }
  friend bool operator!=(const string &a, const string &b) { return a.v != b.v; }
  friend bool operator<(const string &a, const string &b) { return a.v < b.v; }
  friend bool operator>(const string &a, const string &b) { return a.v > b.v; }
};

// ---- a scalar member of a struct: stops when read before it was written ---------------------
template <class T> struct cell {
  T value;
  bool written = false;
  cell() {}
  cell(const cell &) = default;
  cell &operator=(const cell &) = default;
  cell &operator=(T x) { value = x; written = true; return *this; }
  operator T() const { if (!written) HostStop("use of an uninitialised member"); return value; }
  cell &operator+=(T x) { return *this = T(T(*this) + x); }
  cell &operator-=(T x) { return *this = T(T(*this) - x); }
  T operator++(int) { T old = *this; *this = T(old + 1); return old; }
  T operator--(int) { T old = *this; *this = T(old - 1); return old; }
};

// ---- arrays ---------------------------------------------------------------------------------
template <class T> struct arr;

template <class T> struct elem {  // what a[i] is for scalars: knows whether it was written
  arr<T> *array;
  int index;
  operator T() const { return array->get(index); }
  elem &operator=(T x) { array->put(index, x); return *this; }
  elem &operator=(const elem &o) { return *this = T(o); }
  elem(const elem &) = default;
  elem(arr<T> *a, int i) : array(a), index(i) {}
  elem &operator+=(T x) { return *this = T(T(*this) + x); }
  elem &operator-=(T x) { return *this = T(T(*this) - x); }
  elem &operator|=(T x) { return *this = T(T(*this) | x); }
  T operator++(int) { T old = *this; *this = T(old + 1); return old; }
  T operator--(int) { T old = *this; *this = T(old - 1); return old; }
};

template <class T> struct arr {
  static constexpr bool scalar = std::is_arithmetic<T>::value || std::is_enum<T>::value;
  std::vector<T> v;
  std::vector<uchar> written;  // scalars only: MQL4 leaves new elements of simple types undefined
  arr() {}
  explicit arr(int n) { resize(n, 0); }
  arr(std::initializer_list<T> items) : v(items), written(items.size(), 1) {}
  int size() const { return (int)v.size(); }
  void check(int i) const { if (i < 0 || i >= size()) HostStop("array out of range"); }
  T get(int i) const { check(i); if (!written[i]) HostStop("use of an uninitialised element"); return v[i]; }
  void put(int i, T x) { check(i); v[i] = x; written[i] = 1; }
  int resize(int n, int reserve) {
    if (n < 0) return -1;
    if (n + (size_t)reserve > v.capacity()) { v.reserve(n + reserve); if (scalar) written.reserve(n + reserve); }
    v.resize(n);
    if (scalar) written.resize(n);
    return n;
  }
  typename std::conditional<scalar, elem<T>, T &>::type operator[](int i) {
    if constexpr (scalar) { check(i); return elem<T>(this, i); }
    else { check(i); return v[i]; }
  }
  typename std::conditional<scalar, T, const T &>::type operator[](int i) const {
    if constexpr (scalar) return get(i);
    else { check(i); return v[i]; }
  }
};

enum { WHOLE_ARRAY = -1, EMPTY = -1, CLR_NONE = -1 };

template <class T> int ArraySize(const arr<T> &a) { return a.size(); }
template <class T> int ArrayResize(arr<T> &a, int n, int reserve = 0) { return a.resize(n, reserve); }
template <class T> bool ArraySetAsSeries(arr<T> &, bool as_series) { if (as_series) HostStop("the host knows no series"); return true; }
template <class T> void ArrayFree(arr<T> &a) { a.resize(0, 0); }
template <class T, class V> int ArrayInitialize(arr<T> &a, V x) {
  a.v.assign(a.v.size(), T(x));
  a.written.assign(a.v.size(), 1);
  return a.size();
}
template <class T> int ArrayCopy(arr<T> &to, const arr<T> &from, int to_at = 0, int at = 0, int n = WHOLE_ARRAY) {
  if (at < 0 || to_at < 0 || at > from.size()) HostStop("array out of range");
  if (n == WHOLE_ARRAY || n > from.size() - at) n = from.size() - at;
  if (to.size() < to_at + n) to.resize(to_at + n, 0);
  if (n <= 0) return 0;
  std::copy_n(from.v.begin() + at, n, to.v.begin() + to_at);
  if constexpr (arr<T>::scalar) std::copy_n(from.written.begin() + at, n, to.written.begin() + to_at);
  return n;
}

// ---- text -----------------------------------------------------------------------------------
int StringLen(const string &s);
ushort StringGetCharacter(const string &s, int at);
int StringFind(const string &s, const string &what, int from = 0);
string StringSubstr(const string &s, int from, int n = -1);
int StringReplace(string &s, const string &what, const string &with);
string StringTrimLeft(const string &s);
string StringTrimRight(const string &s);
int StringSplit(const string &s, ushort separator, arr<string> &parts);
int StringToShortArray(const string &s, arr<ushort> &a, int at = 0, int n = WHOLE_ARRAY);
string ShortArrayToString(const arr<ushort> &a, int at = 0, int n = WHOLE_ARRAY);
int StringToCharArray(const string &s, arr<uchar> &a, int at = 0, int n = WHOLE_ARRAY, uint codepage = 0);
string CharArrayToString(const arr<uchar> &a, int at = 0, int n = WHOLE_ARRAY, uint codepage = 0);
string IntegerToString(long x, int width = 0, ushort fill = ' ');
string DoubleToString(double x, int digits = 8);
long StringToInteger(const string &s);
double StringToDouble(const string &s);
string TimeToString(datetime t, int flags = 3);
enum { CP_ACP = 0, CP_UTF8 = 65001, TIME_DATE = 1, TIME_MINUTES = 2, TIME_SECONDS = 4 };
void PrintText(const string &text);
void Print(const string &text);
void Alert(const string &text);
void Comment(const string &text);

// ---- numbers --------------------------------------------------------------------------------
int MathMax(int a, int b);
long MathMax(long a, long b);
double MathMax(double a, double b);
int MathMin(int a, int b);
long MathMin(long a, long b);
double MathMin(double a, double b);
double MathAbs(double x);
double MathRound(double x);
double MathFloor(double x);
double MathCeil(double x);
double MathPow(double x, double y);
bool MathIsValidNumber(double x);
double NormalizeDouble(double x, int digits);
int MathRand();
void MathSrand(int seed);

// ---- program, time, terminal ----------------------------------------------------------------
enum ENUM_INIT_RETCODE { INIT_SUCCEEDED = 0, INIT_FAILED = 1, INIT_PARAMETERS_INCORRECT = 32767 };
enum ENUM_TERMINAL_INFO_INTEGER { TERMINAL_BUILD = 5, TERMINAL_CONNECTED = 6, TERMINAL_DLLS_ALLOWED = 7,
  TERMINAL_TRADE_ALLOWED = 8, TERMINAL_PING_LAST = 22 };
enum ENUM_TERMINAL_INFO_STRING { TERMINAL_NAME = 10, TERMINAL_COMPANY = 11, TERMINAL_PATH = 12, TERMINAL_DATA_PATH = 13 };
enum ENUM_MQL_INFO_INTEGER { MQL_DLLS_ALLOWED = 3, MQL_TRADE_ALLOWED = 4 };
int GetLastError();
void ResetLastError();
bool IsStopped();
void ExpertRemove();
bool EventSetMillisecondTimer(int ms);
void EventKillTimer();
void Sleep(int ms);
bool EventChartCustom(long chart, ushort id, long lparam, double dparam, const string &sparam);
enum { CHARTEVENT_CUSTOM = 1000 };
uint GetTickCount();
ulong GetMicrosecondCount();
datetime TimeCurrent();
datetime TimeLocal();
datetime TimeGMT();
bool IsConnected();
bool IsTradeAllowed();
bool IsTradeAllowed(const string &symbol, datetime at);
bool IsTradeContextBusy();
bool IsDllsAllowed();
int TerminalInfoInteger(ENUM_TERMINAL_INFO_INTEGER id);
string TerminalInfoString(ENUM_TERMINAL_INFO_STRING id);
int MQLInfoInteger(ENUM_MQL_INFO_INTEGER id);
bool GlobalVariableCheck(const string &name);
double GlobalVariableGet(const string &name);
datetime GlobalVariableSet(const string &name, double x);
bool GlobalVariableDel(const string &name);
void GlobalVariablesFlush();

// ---- files ----------------------------------------------------------------------------------
enum { INVALID_HANDLE = -1, FILE_READ = 1, FILE_WRITE = 2, FILE_BIN = 4, FILE_ANSI = 32, FILE_SHARE_READ = 128,
  FILE_SHARE_WRITE = 256, FILE_REWRITE = 512, FILE_COMMON = 4096 };
#undef SEEK_SET
#undef SEEK_CUR
#undef SEEK_END
enum { SEEK_SET = 0, SEEK_CUR = 1, SEEK_END = 2 };
int FileOpen(const string &name, int flags);
void FileClose(int handle);
void FileFlush(int handle);
ulong FileSize(int handle);
ulong FileTell(int handle);
bool FileSeek(int handle, long offset, int origin);
bool FileIsExist(const string &name, int common = 0);
bool FileDelete(const string &name, int common = 0);
bool FileMove(const string &from, int common, const string &to, int flags);
bool FolderCreate(const string &name, int common = 0);
uint FileReadArray(int handle, arr<uchar> &a, int at = 0, int n = WHOLE_ARRAY);
uint FileWriteArray(int handle, const arr<uchar> &a, int at = 0, int n = WHOLE_ARRAY);

// ---- market and account ---------------------------------------------------------------------
struct MqlTick { datetime time; double bid, ask, last; ulong volume; };
struct MqlRates { datetime time; double open, high, low, close; long tick_volume; int spread; long real_volume; };
#define HOST_ENUM(name, items) enum name { items(HOST_VALUE) };
#define HOST_VALUE(n, x) n = x,
#include "mql4_enums.h"
HOST_ENUM(ENUM_ACCOUNT_INFO_INTEGER, HOST_ACCOUNT_INTEGER)
HOST_ENUM(ENUM_ACCOUNT_INFO_DOUBLE, HOST_ACCOUNT_DOUBLE)
HOST_ENUM(ENUM_ACCOUNT_INFO_STRING, HOST_ACCOUNT_STRING)
HOST_ENUM(ENUM_SYMBOL_INFO_INTEGER, HOST_SYMBOL_INTEGER)
HOST_ENUM(ENUM_SYMBOL_INFO_DOUBLE, HOST_SYMBOL_DOUBLE)
HOST_ENUM(ENUM_SYMBOL_INFO_STRING, HOST_SYMBOL_STRING)
HOST_ENUM(ENUM_MARKETINFO, HOST_MARKETINFO)
HOST_ENUM(ENUM_SIGNAL_BASE_INTEGER, HOST_SIGNAL_INTEGER)
HOST_ENUM(ENUM_SIGNAL_BASE_DOUBLE, HOST_SIGNAL_DOUBLE)
HOST_ENUM(ENUM_SIGNAL_BASE_STRING, HOST_SIGNAL_STRING)
#define HOST_TO_STRING(name) string EnumToString(name x);
HOST_TO_STRING(ENUM_ACCOUNT_INFO_INTEGER) HOST_TO_STRING(ENUM_ACCOUNT_INFO_DOUBLE)
HOST_TO_STRING(ENUM_SYMBOL_INFO_INTEGER) HOST_TO_STRING(ENUM_SYMBOL_INFO_DOUBLE)
HOST_TO_STRING(ENUM_SYMBOL_INFO_STRING) HOST_TO_STRING(ENUM_MARKETINFO)
enum ENUM_TIMEFRAMES { PERIOD_CURRENT = 0, PERIOD_M1 = 1, PERIOD_M5 = 5, PERIOD_M15 = 15, PERIOD_M30 = 30,
  PERIOD_H1 = 60, PERIOD_H4 = 240, PERIOD_D1 = 1440, PERIOD_W1 = 10080, PERIOD_MN1 = 43200 };
long AccountInfoInteger(int id);
double AccountInfoDouble(int id);
string AccountInfoString(int id);
int AccountNumber();
string AccountServer();
double AccountBalance();
double AccountEquity();
double AccountMargin();
double AccountFreeMargin();
double AccountProfit();
string AccountCurrency();
string Symbol();
int SymbolsTotal(bool selected);
string SymbolName(int at, bool selected);
bool SymbolSelect(const string &symbol, bool select);
bool SymbolInfoInteger(const string &symbol, int id, long &x);
bool SymbolInfoDouble(const string &symbol, int id, double &x);
bool SymbolInfoString(const string &symbol, int id, string &x);
long SymbolInfoInteger(const string &symbol, int id);
double SymbolInfoDouble(const string &symbol, int id);
bool SymbolInfoTick(const string &symbol, MqlTick &tick);
double MarketInfo(const string &symbol, int id);
bool RefreshRates();
long iVolume(const string &symbol, int timeframe, int shift);
datetime iTime(const string &symbol, int timeframe, int shift);
int CopyRates(const string &symbol, ENUM_TIMEFRAMES timeframe, datetime start, int count, arr<MqlRates> &rates);
int SignalBaseTotal();
bool SignalBaseSelect(int at);
long SignalBaseGetInteger(ENUM_SIGNAL_BASE_INTEGER id);
double SignalBaseGetDouble(ENUM_SIGNAL_BASE_DOUBLE id);
string SignalBaseGetString(ENUM_SIGNAL_BASE_STRING id);

// ---- orders ---------------------------------------------------------------------------------
enum { OP_BUY, OP_SELL, OP_BUYLIMIT, OP_SELLLIMIT, OP_BUYSTOP, OP_SELLSTOP };
enum { SELECT_BY_POS = 0, SELECT_BY_TICKET = 1, MODE_TRADES = 0, MODE_HISTORY = 1 };
int OrderSend(const string &symbol, int type, double lots, double price, int slippage, double sl, double tp,
              const string &comment = "", int magic = 0, datetime expiration = 0, color arrow = CLR_NONE);
bool OrderModify(int ticket, double price, double sl, double tp, datetime expiration, color arrow = CLR_NONE);
bool OrderClose(int ticket, double lots, double price, int slippage, color arrow = CLR_NONE);
bool OrderDelete(int ticket, color arrow = CLR_NONE);
bool OrderSelect(int at, int select, int pool = MODE_TRADES);
int OrdersTotal();
int OrdersHistoryTotal();
int OrderTicket();
int OrderMagicNumber();
string OrderSymbol();
int OrderType();
double OrderLots();
double OrderOpenPrice();
double OrderClosePrice();
datetime OrderOpenTime();
datetime OrderCloseTime();
datetime OrderExpiration();
double OrderStopLoss();
double OrderTakeProfit();
double OrderProfit();
double OrderCommission();
double OrderSwap();
string OrderComment();

// ---- indicators: the arguments go to the broker model as they are ---------------------------
double HostIndicator(const char *name, std::initializer_list<string> arguments);
inline string HostText(const string &s) { return s; }
inline string HostText(int x) { return IntegerToString(x); }
inline string HostText(double x) { return DoubleToString(x, 8); }
#define HOST_INDICATOR(name) \
  template <class... A> double name(const A &...a) { return HostIndicator(#name, {HostText(a)...}); }
HOST_INDICATOR(iAC) HOST_INDICATOR(iAD) HOST_INDICATOR(iADX) HOST_INDICATOR(iAlligator) HOST_INDICATOR(iAO)
HOST_INDICATOR(iATR) HOST_INDICATOR(iBearsPower) HOST_INDICATOR(iBands) HOST_INDICATOR(iBullsPower)
HOST_INDICATOR(iCCI) HOST_INDICATOR(iDeMarker) HOST_INDICATOR(iEnvelopes) HOST_INDICATOR(iForce)
HOST_INDICATOR(iFractals) HOST_INDICATOR(iGator) HOST_INDICATOR(iIchimoku) HOST_INDICATOR(iBWMFI)
HOST_INDICATOR(iMomentum) HOST_INDICATOR(iMFI) HOST_INDICATOR(iMA) HOST_INDICATOR(iOsMA) HOST_INDICATOR(iMACD)
HOST_INDICATOR(iOBV) HOST_INDICATOR(iSAR) HOST_INDICATOR(iRSI) HOST_INDICATOR(iRVI) HOST_INDICATOR(iStdDev)
HOST_INDICATOR(iStochastic) HOST_INDICATOR(iWPR)

// ---- DLL imports ----------------------------------------------------------------------------
namespace dll_libzmq {
int zmq_ctx_new();
int zmq_ctx_term(int context);
int zmq_socket(int context, int type);
int zmq_close(int socket);
int zmq_bind(int socket, const arr<uchar> &endpoint);
int zmq_connect(int socket, const arr<uchar> &endpoint);
int zmq_setsockopt(int socket, int option, const arr<uchar> &value, int size);
int zmq_getsockopt(int socket, int option, arr<uchar> &value, arr<int> &size);
int zmq_recv(int socket, arr<uchar> &buffer, int size, int flags);
int zmq_send(int socket, const arr<uchar> &buffer, int size, int flags);
int zmq_errno();
}
namespace dll_kernel32 {
ulong GetTickCount64();
}

// ---- what the translator emits --------------------------------------------------------------
void HostInput(const char *name, bool &x);
void HostInput(const char *name, int &x);
void HostInput(const char *name, double &x);
void HostInput(const char *name, string &x);
template <class E, class = typename std::enable_if<std::is_enum<E>::value>::type> void HostInput(const char *name, E &x) {
  int value = (int)x;
  HostInput(name, value);
  x = (E)value;
}
struct HostProgram {
  int (*init)();
  void (*deinit)(int);
  void (*timer)();
  void (*tick)();
  void (*chart_event)(int, const long &, const double &, const string &);
};
int HostMain(const HostProgram &program);
