// Runs one include on cases from a file, for the tests: Files/cases.bin in, Files/answers.bin out.
//
// Each case is a length of four bytes (little endian) and that many bytes; each answer a line.
#property strict

#include <Mt4Gateway/Json.mqh>
#include <Mt4Gateway/Ledger.mqh>
#include <Mt4Gateway/MsgPack.mqh>

input string Mode = "json";
input int    Login = 5001234;
input string Server = "Simulator-Demo";
input int    GoOnEvery = 1;   // ledgers of such a length are also written on

uchar      cases[];
JsonReader reader;
JsonWriter answers;

int OnInit()
  {
   if(!ReadCases())
      return(INIT_FAILED);
   AnswerCases();
   return(WriteAnswers() ? INIT_SUCCEEDED : INIT_FAILED);
  }

void OnDeinit(const int reason)
  {
   Print("probe stopped " + IntegerToString(reason));
  }

bool ReadCases()
  {
   int file = FileOpen("cases.bin", FILE_READ | FILE_BIN);
   if(file == INVALID_HANDLE)
      return(false);
   int size = (int)FileSize(file);
   ArrayResize(cases, size);
   bool is_read = size == 0 || (int)FileReadArray(file, cases, 0, size) == size;
   FileClose(file);
   return(is_read);
  }

bool WriteAnswers()
  {
   int file = FileOpen("answers.bin", FILE_WRITE | FILE_BIN);
   if(file == INVALID_HANDLE)
      return(false);
   bool is_written = (int)FileWriteArray(file, answers.bytes, 0, answers.length) == answers.length;
   FileClose(file);
   return(is_written);
  }

void AnswerCases()
  {
   int at = 0;
   while(at + 4 <= ArraySize(cases))
     {
      int length = cases[at] + 256 * cases[at + 1] + 65536 * cases[at + 2];
      at += 4;
      if(Mode == "ledgers")
         AnswerLedger(at, length);
      else if(!reader.Parse(cases, at, at + length))
         answers.PutAscii("refused");
      else if(Mode == "msgpack")
         PackCase();
      else
         WriteValue(0);
      answers.Put('\n');
      at += length;
     }
  }

// ---- JSON: what was read, written again; a real number by its bits ------------------------------

void WriteValue(int token)
  {
   switch(reader.Kind(token))
     {
      case JSON_NULL:    answers.PutAscii("null"); return;
      case JSON_BOOLEAN: answers.PutAscii(reader.Boolean(token) ? "true" : "false"); return;
      case JSON_INTEGER: answers.PutAscii(IntegerToString(reader.Integer(token))); return;
      case JSON_REAL:    WriteBits(reader.Real(token)); return;
      case JSON_TEXT:    WriteText(reader.Text(token)); return;
     }
   WriteItems(token);
  }

void WriteBits(double number)
  {
   ulong bits = DoubleBits(number);
   answers.PutAscii("\"" + Hex8((uint)(bits >> 32)) + Hex8((uint)(bits & 0xFFFFFFFF)) + "\"");
  }

void WriteText(string text)
  {
   JsonWriter one;
   one.Text(text);
   answers.PutBytes(one.bytes, 0, one.length);
  }

// Members as a list of names and values, so that repeated names show.
void WriteItems(int token)
  {
   bool is_first = true;
   answers.Put('[');
   for(int item = reader.First(token); item >= 0; item = reader.Next(token, item))
     {
      if(!is_first)
         answers.Put(',');
      is_first = false;
      WriteValue(item);
     }
   answers.Put(']');
  }

// ---- msgpack ------------------------------------------------------------------------------------

void PackCase()
  {
   MsgPackWriter packer;
   PackValue(packer, 0);
   string digits = "0123456789abcdef";
   for(int i = 0; i < packer.length; i++)
     {
      answers.Put(StringGetCharacter(digits, packer.bytes[i] / 16));
      answers.Put(StringGetCharacter(digits, packer.bytes[i] % 16));
     }
  }

void PackValue(MsgPackWriter &packer, int token)
  {
   switch(reader.Kind(token))
     {
      case JSON_NULL:    packer.Null(); return;
      case JSON_BOOLEAN: packer.Boolean(reader.Boolean(token)); return;
      case JSON_INTEGER: packer.Integer(reader.Integer(token)); return;
      case JSON_REAL:    packer.Real(reader.Real(token)); return;
      case JSON_TEXT:    packer.Text(reader.Text(token)); return;
     }
   packer.Map(reader.Size(token) / 2);
   for(int item = reader.First(token); item >= 0; item = reader.Next(token, item))
      PackValue(packer, item);
  }

// ---- ledgers: each case is the content of one ---------------------------------------------------

void AnswerLedger(int from, int length)
  {
   string name = IntegerToString(Login) + "-" + Hex8(Crc32OfText(Server));
   string variable = "Mt4Gateway." + name + ".bytes";
   if(GlobalVariableCheck(variable))
      GlobalVariableDel(variable);
   int file = FileOpen("Mt4Gateway\\ledger-" + name + ".txt", FILE_WRITE | FILE_BIN | FILE_COMMON);
   if(length > 0)
      FileWriteArray(file, cases, from, length);
   FileClose(file);
   DescribeLedger(length % GoOnEvery == 0);
  }

// The reason of safe mode, the epoch, how far the gateway's journal has come, and what is known about the commands a0, a1, ...
void DescribeLedger(bool goes_on)
  {
   Ledger ledger;
   LedgerOptions options;
   LedgerEntry entry;
   options.may_create = false;
   options.keep_days = 30;
   options.max_entries = 1000;
   options.max_bytes = 1000000;
   ledger.Open(Login, Server, options);
   answers.PutAscii(ledger.Reason() + "|" + IntegerToString(ledger.Epoch()) + "," + IntegerToString(ledger.Journal()) + "|");
   for(int i = 0; i < 32; i++)
      if(ledger.Find("test/a" + IntegerToString(i), entry))
         answers.PutAscii("a" + IntegerToString(i) + "=" + KindOfState(entry.state) + " ");
   // A ledger that is trusted goes on: a line, and it opens again.
   if(goes_on && !ledger.IsSafe())
     {
      ledger.ClaimEpoch();
      ledger.Close();
      ledger.Open(Login, Server, options);
      answers.PutAscii("|" + ledger.Reason() + "|" + IntegerToString(ledger.Epoch()) + "," + IntegerToString(ledger.Journal()));
     }
   ledger.Close();
  }
