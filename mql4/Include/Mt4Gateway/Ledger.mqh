// What is known about every command, in one append-only file that survives a crash at any byte.
//
// A line is `<crc32> <object>\n` (docs/protocol.md, "The ledger"). Every line is flushed before
// the caller goes on. A ledger that is missing, damaged, foreign, in use, older than the one used
// before, or full is in safe mode: its records still answer, but nothing new may start on its
// strength. That a ledger existed, and how long it was, is remembered in a global variable of the
// terminal, which lives in another file: so a lost or restored ledger is noticed.
#ifndef MT4GATEWAY_LEDGER_MQH
#define MT4GATEWAY_LEDGER_MQH

#include <Mt4Gateway/Json.mqh>
#include <Mt4Gateway/Log.mqh>
#include <Mt4Gateway/Protocol.mqh>

#define LEDGER_VERSION 1
#define LEDGER_CRC_DIGITS 8
#define LEDGER_BUCKETS 8192

struct LedgerOptions
  {
   bool              may_create;
   int               keep_days;      // a command is forgotten after this long, and not before
   int               max_entries;
   int               max_bytes;
  };

// ---- CRC-32 (IEEE) ------------------------------------------------------------------------------

uint Crc32OfByte(uint crc)
  {
   for(int bit = 0; bit < 8; bit++)
      crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xEDB88320 : crc >> 1;
   return(crc);
  }

uint Crc32(const uchar &bytes[], int from, int to)
  {
   static uint table[256];
   static bool is_filled = false;
   for(uint n = 0; n < 256 && !is_filled; n++)
      table[(int)n] = Crc32OfByte(n);
   is_filled = true;
   uint crc = 0xFFFFFFFF;
   for(int i = from; i < to; i++)
      crc = (crc >> 8) ^ table[(int)((crc ^ bytes[i]) & 255)];
   return(crc ^ 0xFFFFFFFF);
  }

string Hex8(uint number)
  {
   string digits = "0123456789abcdef";
   string text = "";
   for(int shift = 28; shift >= 0; shift -= 4)
      text += StringSubstr(digits, (int)((number >> shift) & 15), 1);
   return(text);
  }

uint Crc32OfText(string text)
  {
   JsonWriter writer;
   writer.Text(text);
   return(Crc32(writer.bytes, 0, writer.length));
  }

// ---- entries ------------------------------------------------------------------------------------

// The last line about one command.
struct LedgerEntry
  {
   string            id;
   ENUM_STATE        state;
   int               attempt;
   string            digest;
   string            token;          // what the comment of its order begins with, "" if it has none
   string            action;
   long              time_s;         // of the line, UTC
   int               line_at;        // where the line with the reply begins, -1 if it is not there
   int               line_length;

                     LedgerEntry() { Reset(""); }
   void              Reset(string with_id);
   void              Copy(const LedgerEntry &from);
  };

void LedgerEntry::Reset(string with_id)
  {
   id = with_id;
   state = STATE_NONE;
   attempt = 0;
   digest = "";
   token = "";
   action = "";
   time_s = 0;
   line_at = -1;
   line_length = 0;
  }

void LedgerEntry::Copy(const LedgerEntry &from)
  {
   id = from.id;
   state = from.state;
   attempt = from.attempt;
   digest = from.digest;
   token = from.token;
   action = from.action;
   time_s = from.time_s;
   line_at = from.line_at;
   line_length = from.line_length;
  }

struct UnsavedReply
  {
   string            id;
   uchar             bytes[];
  };

class Ledger
  {
private:
   LedgerOptions     options;
   int               handle;
   string            path;
   string            variable;       // the global variable that remembers the length
   string            uid;
   string            reason;         // why it is in safe mode, "" if it is not
   bool              may_retry;      // the reason may pass by itself
   long              epoch;
   long              journal;        // the highest sequence of a gateway's journal that it was told
   int               size;           // bytes in the file
   double            dropped;        // bytes that earlier compactions took out
   int               login;
   string            server;
   long              created_s;
   LedgerEntry       entries[];
   int               entry_count;
   int               next_in_bucket[];
   int               buckets[];
   JsonWriter        line;
   JsonReader        reader;
   UnsavedReply      unsaved[];      // of commands whose last line could not be written

   bool              Distrust(string why);
   bool              OpenFile();
   bool              Create();
   void              Reset();
   bool              Load(bool may_rewrite);
   bool              Replace(const uchar &bytes[], int count);
   void              BeginHeader();
   void              EpochLine(long number);
   bool              LoadLines(const uchar &bytes[], int &good_size);
   bool              ApplyLine(int from, int to);
   bool              ApplyHeader();
   bool              ApplyEntry(ENUM_STATE state, int from, int length);
   void              BeginLine(string kind);
   void              EndLine();
   bool              Append();
   bool              WriteAll(int to, const uchar &bytes[], int from, int count);
   bool              Rewrite(const uchar &bytes[], int good_size);
   void              RememberSize();
   int               Bucket(string id) const;
   int               AddEntry(string id);
   bool              ParseLine(const uchar &bytes[], int from, int to);
   void              KeepUnsaved(string id, const JsonWriter &reply);
   bool              AddUnsaved(string id, JsonWriter &reply) const;
   bool              IsOld(const uchar &bytes[], int from, int to, long before_s);
   string            TextOf(string key);

public:
                     Ledger() { handle = INVALID_HANDLE; epoch = 0; journal = 0; size = 0; dropped = 0; login = 0; created_s = 0; entry_count = 0; may_retry = false; reason = "not open"; }
   bool              Open(int for_login, string for_server, const LedgerOptions &with);
   void              Close();
   bool              IsSafe() const { return(reason != ""); }
   bool              MayRetry() const { return(may_retry); }
   string            Reason() const { return(reason); }
   string            Uid() const { return(uid); }
   long              Epoch() const { return(epoch); }
   long              Journal() const { return(journal); }
   int               Login() const { return(login); }
   int               Count() const { return(entry_count); }
   bool              Find(string id, LedgerEntry &entry) const;
   int               TicketsBelow(string id, int &tickets[]) const;
   void              LearnJournal(long sequence);
   bool              ClaimEpoch();
   bool              Start(const BridgeKeys &keys, string action, string token);
   bool              Finish(const BridgeKeys &keys, ENUM_STATE state, const JsonWriter &reply);
   bool              AddReply(const LedgerEntry &entry, JsonWriter &reply);
  };

bool Ledger::Distrust(string why)
  {
   if(reason == why)
      return(false);
   reason = why;
   LogError("ledger_safe_mode reason=\"" + why + "\" file=" + path);
   return(false);
  }

// ---- opening ------------------------------------------------------------------------------------

// False means safe mode, with a reason.
bool Ledger::Open(int for_login, string for_server, const LedgerOptions &with)
  {
   Close();
   options = with;
   login = for_login;
   server = for_server;
   may_retry = false;
   Reset();
   string name = IntegerToString(login) + "-" + Hex8(Crc32OfText(server));
   path = "Mt4Gateway\\ledger-" + name + ".txt";
   variable = "Mt4Gateway." + name + ".bytes";
   if(!OpenFile() || !Load(true))
      return(false);
   if(GlobalVariableCheck(variable) && GlobalVariableGet(variable) > dropped + size)
      return(Distrust("shorter than when it was last used: lost lines, or an old copy"));
   RememberSize();
   reason = "";
   LogInfo("ledger_open uid=" + uid + " epoch=" + IntegerToString(epoch) + " commands=" + IntegerToString(entry_count));
   return(true);
  }

void Ledger::Reset()
  {
   entry_count = 0;
   epoch = 0;
   journal = 0;
   uid = "";
   dropped = 0;
   created_s = (long)TimeGMT();
   ArrayResize(buckets, LEDGER_BUCKETS);
   ArrayInitialize(buckets, -1);
   ArrayFree(unsaved);
  }

void Ledger::Close()
  {
   if(handle != INVALID_HANDLE)
      FileClose(handle);
   handle = INVALID_HANDLE;
   reason = "not open";
  }

// A rewrite that was cut short leaves the old file whole under another name: take it back.
bool Ledger::OpenFile()
  {
   string old = path + ".old";
   if(!FileIsExist(path, FILE_COMMON) && FileIsExist(old, FILE_COMMON))
      if(!FileMove(old, FILE_COMMON, path, FILE_COMMON))
         return(Distrust("the file from before a rewrite cannot be taken back, code " + IntegerToString(GetLastError())));
   if(!FileIsExist(path, FILE_COMMON))
     {
      if(GlobalVariableCheck(variable))
         return(Distrust("missing, though this terminal has used one"));
      if(!options.may_create)
         return(Distrust("there is none yet: set the input LedgerCreate to true once"));
      if(!Create())
         return(false);
     }
   if(FileIsExist(old, FILE_COMMON) && !FileDelete(old, FILE_COMMON))
      return(Distrust("the file from before a rewrite cannot be deleted"));
   handle = FileOpen(path, FILE_READ | FILE_WRITE | FILE_BIN | FILE_COMMON);
   if(handle != INVALID_HANDLE)
      return(true);
   may_retry = true;
   return(Distrust("cannot be opened, code " + IntegerToString(GetLastError()) + " (another program has it?)"));
  }

// Written under another name first, so that a ledger is there whole or not at all.
bool Ledger::Create()
  {
   uid = Hex8((uint)TimeLocal()) + Hex8((uint)GetMicrosecondCount() ^ (uint)login) + Hex8(GetTickCount()) + Hex8((uint)MathRand());
   BeginHeader();
   EndLine();
   string fresh = path + ".new";
   int file = FileOpen(fresh, FILE_WRITE | FILE_BIN | FILE_COMMON);
   if(file == INVALID_HANDLE)
      return(Distrust("cannot be created, code " + IntegerToString(GetLastError())));
   bool is_written = WriteAll(file, line.bytes, 0, line.length);
   FileClose(file);
   if(!is_written || !FileMove(fresh, FILE_COMMON, path, FILE_COMMON))
      return(Distrust("cannot be created, code " + IntegerToString(GetLastError())));
   LogInfo("ledger_created uid=" + uid);
   return(true);
  }

bool Ledger::Load(bool may_rewrite)
  {
   uchar bytes[];
   size = (int)FileSize(handle);
   ArrayResize(bytes, size);
   if(!FileSeek(handle, 0, SEEK_SET) || (size > 0 && (int)FileReadArray(handle, bytes, 0, size) != size))
      return(Distrust("cannot be read, code " + IntegerToString(GetLastError())));
   int good_size = 0;
   if(!LoadLines(bytes, good_size))
      return(false);
   if(uid == "")
      return(Distrust("the first line is missing"));
   bool is_big = entry_count >= options.max_entries / 2 || size >= options.max_bytes / 2;
   if(may_rewrite && (good_size < size || is_big))
      return(Rewrite(bytes, good_size));
   if(entry_count >= options.max_entries || size >= options.max_bytes)
      return(Distrust("full: " + IntegerToString(entry_count) + " commands, " + IntegerToString(size) + " bytes"));
   return(true);
  }

// A bad line is ignored where it is the last one: its writer crashed before anything was done on
// its strength. Elsewhere the file is damaged; what can be read is kept, for answers.
bool Ledger::LoadLines(const uchar &bytes[], int &good_size)
  {
   int from = 0;
   int bad_at = -1;
   while(from < size)
     {
      int to = from;
      while(to < size && bytes[to] != '\n')
         to++;
      bool is_last = to >= size - 1;
      if(to < size && ParseLine(bytes, from, to))
        {
         if(!ApplyLine(from, to))
            return(false);
         good_size = to + 1;
        }
      else
         if(!is_last && bad_at < 0)
            bad_at = from;
      from = to + 1;
     }
   if(bad_at >= 0)
      return(Distrust("damaged at byte " + IntegerToString(bad_at)));
   return(true);
  }

bool Ledger::ParseLine(const uchar &bytes[], int from, int to)
  {
   int text_from = from + LEDGER_CRC_DIGITS + 1;
   if(to <= text_from || bytes[text_from - 1] != ' ')
      return(false);
   string crc = Hex8(Crc32(bytes, text_from, to));
   for(int i = 0; i < LEDGER_CRC_DIGITS; i++)
      if(bytes[from + i] != StringGetCharacter(crc, i))
         return(false);
   return(reader.Parse(bytes, text_from, to) && reader.Kind(0) == JSON_OBJECT);
  }

string Ledger::TextOf(string key)
  {
   int token = reader.Find(0, key);
   return(token >= 0 && reader.Kind(token) == JSON_TEXT ? reader.Text(token) : "");
  }

long LongIn(const JsonReader &reader, string key)
  {
   int token = reader.Find(0, key);
   return(token >= 0 && reader.Kind(token) == JSON_INTEGER ? reader.Integer(token) : 0);
  }

ENUM_STATE StateOfKind(string kind)
  {
   if(kind == "started") return(STATE_STARTED);
   if(kind == "done") return(STATE_DONE);
   if(kind == "rejected") return(STATE_REJECTED);
   if(kind == "not_now") return(STATE_NOT_NOW);
   if(kind == "doubt") return(STATE_IN_DOUBT);
   if(kind == "sealed") return(STATE_SEALED);
   return(STATE_NONE);
  }

string KindOfState(ENUM_STATE state)
  {
   if(state == STATE_STARTED) return("started");
   if(state == STATE_IN_DOUBT) return("doubt");
   return(StateName(state));
  }

bool Ledger::ApplyLine(int from, int to)
  {
   string kind = TextOf("kind");
   if(kind == "ledger")
      return(ApplyHeader());
   if(uid == "")
      return(Distrust("the first line is missing"));
   LearnJournal(LongIn(reader, "journal"));   // lines of old programs have none
   if(kind == "epoch")
     {
      epoch = MathMax((long)epoch, LongIn(reader, "epoch"));
      return(true);
     }
   ENUM_STATE state = StateOfKind(kind);
   if(state == STATE_NONE || TextOf("id") == "")
      return(Distrust("a line of another version at byte " + IntegerToString(from)));
   return(ApplyEntry(state, from, to - from));
  }

bool Ledger::ApplyHeader()
  {
   if(LongIn(reader, "version") != LEDGER_VERSION)
      return(Distrust("of another version"));
   if(LongIn(reader, "login") != login || TextOf("server") != server)
      return(Distrust("of another account: " + IntegerToString(LongIn(reader, "login")) + " at " + TextOf("server")));
   uid = TextOf("uid");
   created_s = LongIn(reader, "created_s");
   dropped = (double)LongIn(reader, "dropped_bytes");
   return(true);
  }

bool Ledger::ApplyEntry(ENUM_STATE state, int from, int length)
  {
   int i = AddEntry(TextOf("id"));
   if(state == STATE_STARTED)   // only this line names them; later ones do not take them away
     {
      entries[i].token = TextOf("token");
      entries[i].action = TextOf("action");
     }
   entries[i].state = state;
   entries[i].attempt = (int)LongIn(reader, "attempt");
   entries[i].digest = TextOf("digest");
   entries[i].time_s = LongIn(reader, "time_s");
   entries[i].line_at = from;
   entries[i].line_length = length;
   return(true);
  }

// ---- finding ------------------------------------------------------------------------------------

int Ledger::Bucket(string id) const
  {
   return((int)(Crc32OfText(id) % LEDGER_BUCKETS));
  }

// The entry of a command, made if there is none.
int Ledger::AddEntry(string id)
  {
   int bucket = Bucket(id);
   for(int i = buckets[bucket]; i >= 0; i = next_in_bucket[i])
      if(entries[i].id == id)
         return(i);
   if(entry_count == ArraySize(entries))
     {
      ArrayResize(entries, 2 * entry_count + 256);
      ArrayResize(next_in_bucket, 2 * entry_count + 256);
     }
   entries[entry_count].Reset(id);
   next_in_bucket[entry_count] = buckets[bucket];
   buckets[bucket] = entry_count;
   entry_count++;
   return(entry_count - 1);
  }

bool Ledger::Find(string id, LedgerEntry &entry) const
  {
   if(ArraySize(buckets) == 0)
      return(false);
   for(int i = buckets[Bucket(id)]; i >= 0; i = next_in_bucket[i])
      if(entries[i].id == id)
        {
         entry.Copy(entries[i]);
         return(true);
        }
   return(false);
  }

// The tickets that a DO_CLOSE_ALL began to close: they have lines of their own, `<id>#<ticket>`.
int Ledger::TicketsBelow(string id, int &tickets[]) const
  {
   string start = id + "#";
   ArrayFree(tickets);
   for(int i = 0; i < entry_count; i++)
     {
      if(StringFind(entries[i].id, start) != 0)
         continue;
      int count = ArraySize(tickets);
      ArrayResize(tickets, count + 1);
      tickets[count] = (int)StringToInteger(StringSubstr(entries[i].id, StringLen(start)));
     }
   return(ArraySize(tickets));
  }

// ---- writing ------------------------------------------------------------------------------------

void Ledger::BeginLine(string kind)
  {
   line.Clear();
   line.PutAscii("00000000 {");
   line.AddText("kind", kind);
  }

void Ledger::BeginHeader()
  {
   BeginLine("ledger");
   line.AddText("uid", uid);
   line.AddInteger("created_s", created_s);
   line.AddInteger("login", login);
   line.AddText("server", server);
   line.AddInteger("version", LEDGER_VERSION);
  }

// How far the journal has come stands here and in each `started` line, so that a restart and a
// rewrite know it.
void Ledger::EpochLine(long number)
  {
   BeginLine("epoch");
   line.AddInteger("epoch", number);
   line.AddInteger("journal", journal);
   line.AddInteger("time_s", (long)TimeGMT());
   EndLine();
  }

// Close the object and put the checksum in front of it.
void Ledger::EndLine()
  {
   line.Put('}');
   string crc = Hex8(Crc32(line.bytes, LEDGER_CRC_DIGITS + 1, line.length));
   for(int i = 0; i < LEDGER_CRC_DIGITS; i++)
      line.bytes[i] = (uchar)StringGetCharacter(crc, i);
   line.Put('\n');
  }

bool Ledger::WriteAll(int to, const uchar &bytes[], int from, int count)
  {
   ResetLastError();
   int written = (int)FileWriteArray(to, bytes, from, count);
   FileFlush(to);
   return(written == count);
  }

bool Ledger::Append()
  {
   if(IsSafe() || handle == INVALID_HANDLE)
      return(false);
   if(!FileSeek(handle, size, SEEK_SET) || !WriteAll(handle, line.bytes, 0, line.length) || (int)FileTell(handle) != size + line.length)
      return(Distrust("cannot be written, code " + IntegerToString(GetLastError())));
   size += line.length;
   RememberSize();
   return(true);
  }

void Ledger::RememberSize()
  {
   if(GlobalVariableSet(variable, dropped + size) == 0)
      LogWarning("ledger_size_not_remembered code=" + IntegerToString(GetLastError()));
  }

// A gateway tells how far its journal has come. In memory alone until the next line that has it.
void Ledger::LearnJournal(long sequence)
  {
   if(sequence > journal)
      journal = sequence;
  }

bool Ledger::ClaimEpoch()
  {
   EpochLine(epoch + 1);
   bool is_stored = Append();
   epoch = epoch + 1;   // even if not: in safe mode nothing runs, and the claimant must be the last
   return(is_stored);
  }

// Before a trade call. The memory is told only if the line is in the file: an intent that is not
// there was not acted on.
bool Ledger::Start(const BridgeKeys &keys, string action, string token)
  {
   BeginLine("started");
   line.AddText("id", keys.id);
   line.AddInteger("attempt", keys.attempt);
   line.AddText("digest", keys.digest);
   line.AddText("token", token);
   line.AddText("action", action);
   line.AddInteger("journal", journal);
   line.AddInteger("time_s", (long)TimeGMT());
   EndLine();
   int at = size;
   if(!Append() || !ParseLine(line.bytes, 0, line.length - 1))
      return(false);
   return(ApplyEntry(STATE_STARTED, at, line.length - 1));
  }

// After it. What happened is answered truthfully even if the file fails, so the memory is told all
// the same; but not of a seal, which nobody may rely on if a crash can forget it.
bool Ledger::Finish(const BridgeKeys &keys, ENUM_STATE state, const JsonWriter &reply)
  {
   BeginLine(KindOfState(state));
   line.AddText("id", keys.id);
   line.AddInteger("attempt", keys.attempt);
   line.AddText("digest", keys.digest);
   line.AddInteger("time_s", (long)TimeGMT());
   if(state != STATE_SEALED)
     {
      line.Key("reply");
      line.BeginObject();
      line.Members(reply.bytes, 0, reply.length);
      line.EndObject();
     }
   EndLine();
   int at = size;
   bool is_stored = Append();
   if((is_stored || state != STATE_SEALED) && ParseLine(line.bytes, 0, line.length - 1))
      ApplyEntry(state, is_stored ? at : -1, line.length - 1);
   if(!is_stored && state != STATE_SEALED)
      KeepUnsaved(keys.id, reply);
   if(entry_count >= options.max_entries || size >= options.max_bytes)
      Distrust("full: " + IntegerToString(entry_count) + " commands, " + IntegerToString(size) + " bytes");
   return(is_stored);
  }

void Ledger::KeepUnsaved(string id, const JsonWriter &reply)
  {
   int at = 0;
   while(at < ArraySize(unsaved) && unsaved[at].id != id)
      at++;
   if(at == ArraySize(unsaved))
      ArrayResize(unsaved, at + 1);
   unsaved[at].id = id;
   ArrayResize(unsaved[at].bytes, reply.length);
   if(reply.length > 0)
      ArrayCopy(unsaved[at].bytes, reply.bytes, 0, 0, reply.length);
  }

bool Ledger::AddUnsaved(string id, JsonWriter &reply) const
  {
   for(int i = 0; i < ArraySize(unsaved); i++)
      if(unsaved[i].id == id)
        {
         reply.Members(unsaved[i].bytes, 0, ArraySize(unsaved[i].bytes));
         return(true);
        }
   return(false);
  }

// Write the members of a stored reply. False if it cannot be read back.
bool Ledger::AddReply(const LedgerEntry &entry, JsonWriter &reply)
  {
   if(entry.line_at < 0)
      return(AddUnsaved(entry.id, reply));
   uchar bytes[];
   ArrayResize(bytes, entry.line_length);
   if(!FileSeek(handle, entry.line_at, SEEK_SET) || (int)FileReadArray(handle, bytes, 0, entry.line_length) != entry.line_length)
      return(false);
   if(!ParseLine(bytes, 0, entry.line_length))
      return(false);
   int stored = reader.Find(0, "reply");
   if(stored < 0 || reader.Kind(stored) != JSON_OBJECT)
      return(false);
   int offset = LEDGER_CRC_DIGITS + 1;
   int from = reader.Start(stored) + offset + 1;
   reply.Members(bytes, from, reader.End(stored) + offset - 1 - from);
   return(true);
  }

// ---- compaction ---------------------------------------------------------------------------------

// Is this the last word on a command that may be forgotten?
bool Ledger::IsOld(const uchar &bytes[], int from, int to, long before_s)
  {
   LedgerEntry entry;
   if(!ParseLine(bytes, from, to) || !Find(TextOf("id"), entry))
      return(false);
   return(entry.time_s > 0 && entry.time_s < before_s);
  }

// Copy what must be kept into a new file and put it in the old one's place, then load that.
// Cut short at any point, either the old or the new file is there, whole.
bool Ledger::Rewrite(const uchar &bytes[], int good_size)
  {
   long before_s = (long)TimeGMT() - (long)options.keep_days * 86400;
   JsonWriter kept;
   BeginHeader();
   line.AddInteger("dropped_bytes", (long)dropped + good_size);
   EndLine();
   kept.PutBytes(line.bytes, 0, line.length);
   EpochLine(epoch);
   kept.PutBytes(line.bytes, 0, line.length);
   int from = 0;
   while(from < good_size)
     {
      int to = from;
      while(bytes[to] != '\n')
         to++;
      bool is_entry = ParseLine(bytes, from, to) && TextOf("id") != "";
      if(is_entry && !IsOld(bytes, from, to, before_s))
         kept.PutBytes(bytes, from, to + 1 - from);
      from = to + 1;
     }
   return(Replace(kept.bytes, kept.length));
  }

bool Ledger::Replace(const uchar &bytes[], int count)
  {
   string fresh = path + ".new";
   string old = path + ".old";
   int file = FileOpen(fresh, FILE_WRITE | FILE_BIN | FILE_COMMON);
   bool is_written = file != INVALID_HANDLE && WriteAll(file, bytes, 0, count);
   if(file != INVALID_HANDLE)
      FileClose(file);
   if(!is_written)
      return(Distrust("cannot be rewritten, code " + IntegerToString(GetLastError())));
   FileClose(handle);
   handle = INVALID_HANDLE;
   if(!FileMove(path, FILE_COMMON, old, FILE_COMMON | FILE_REWRITE) || !FileMove(fresh, FILE_COMMON, path, FILE_COMMON))
      return(Distrust("cannot be replaced, code " + IntegerToString(GetLastError())));
   LogInfo("ledger_rewritten bytes=" + IntegerToString(size) + " kept=" + IntegerToString(count));
   Reset();
   return(OpenFile() && Load(false));
  }

#endif
