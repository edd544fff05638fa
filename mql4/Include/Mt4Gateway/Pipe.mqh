// One end of the gateway's pipe: lines in, lines out, and never a wait.
//
// A pipe is opened as a file. Reading waits when nothing is there, so only what FileSize tells is
// read; writing waits when the pipe is full, so no more is written than the gateway has said it has
// room for, and the rest stays here. Between reading and writing a file wants a flush and a seek.
#ifndef MT4GATEWAY_PIPE_MQH
#define MT4GATEWAY_PIPE_MQH

#include <Mt4Gateway/Clock.mqh>
#include <Mt4Gateway/Json.mqh>
#include <Mt4Gateway/Log.mqh>

#define PIPE_PING_MS 500
#define PIPE_SILENT_MS 3000
#define PIPE_AWAY_MS 1000
#define PIPE_FIRST_RETRY_MS 50
#define PIPE_LONGEST_RETRY_MS 250
#define PIPE_LONGEST_LINE 131072

// Does a line begin so? ASCII.
bool BeginsWith(const uchar &bytes[], int length, string beginning)
  {
   int count = StringLen(beginning);
   if(length < count)
      return(false);
   for(int i = 0; i < count; i++)
      if(bytes[i] != StringGetCharacter(beginning, i))
         return(false);
   return(true);
  }

// Bytes in the order in which they came.
class ByteQueue
  {
public:
   uchar             bytes[];
   int               start;
   int               end;

                     ByteQueue() { Clear(); }
   void              Clear() { start = 0; end = 0; }
   int               Length() const { return(end - start); }
   void              MakeRoom(int count);
   void              Add(const uchar &from[], int at, int count);
   void              Drop(int count);
  };

// Room for so many behind `end`.
void ByteQueue::MakeRoom(int count)
  {
   if(start > 0 && end + count > ArraySize(bytes))
     {
      int length = Length();
      for(int i = 0; i < length; i++)
         bytes[i] = bytes[start + i];
      start = 0;
      end = length;
     }
   if(end + count > ArraySize(bytes))
      ArrayResize(bytes, 2 * (end + count));
  }

void ByteQueue::Add(const uchar &from[], int at, int count)
  {
   if(count <= 0)
      return;
   MakeRoom(count);
   ArrayCopy(bytes, from, end, at, count);
   end += count;
  }

void ByteQueue::Drop(int count)
  {
   start += count;
   if(start == end)
      Clear();
  }

class PipeFile
  {
private:
   string            name;
   string            opening;         // the first line
   int               handle;
   bool              is_welcome;      // the gateway has answered the first line
   bool              was_writing;
   bool              has_complained;
   ByteQueue         in;
   ByteQueue         out;
   int               searched;        // of `in`, bytes without an end of a line
   long              sent;            // since the pipe was opened, as `taken`
   long              taken;           // of that, what the gateway has read
   long              window;          // how far `sent` may be ahead of `taken`
   long              tried_ms;
   long              retry_ms;
   long              heard_ms;
   long              said_ms;
   long              polled_ms;

   bool              IsTimeToOpen(long now_ms) const { return(now_ms - tried_ms >= retry_ms || now_ms < tried_ms); }
   bool              Open(long now_ms);
   void              Lose(string reason);
   void              Turn(bool is_writing);
   void              Read();
   void              Write();
   bool              TakeLine();
   bool              IsOurs();
   void              Welcome();
   void              Acknowledged();

public:
   uchar             line[];          // the line that NextLine has found
   int               line_length;
   int               connection;      // counts from 1; another number, another connection

                     PipeFile();
   void              Start(string pipe_name, string role, string program);
   void              Close();
   bool              IsOpen() const { return(is_welcome); }
   int               Waiting() const { return(out.Length()); }
   void              Poll();
   bool              NextLine();
   void              Add(const uchar &bytes[], int start, int count);
   void              AddAscii(string text);
   void              EndLine();
  };

PipeFile::PipeFile()
  {
   handle = INVALID_HANDLE;
   is_welcome = false;
   was_writing = false;
   has_complained = false;
   searched = 0;
   sent = 0;
   taken = 0;
   window = 0;
   tried_ms = 0;
   retry_ms = PIPE_FIRST_RETRY_MS;
   heard_ms = 0;
   said_ms = 0;
   polled_ms = 0;
   line_length = 0;
   connection = 0;
  }

void PipeFile::Start(string pipe_name, string role, string program)
  {
   name = pipe_name;
   opening = "{\"kind\":\"open\",\"role\":\"" + role + "\",\"program\":\"" + program + "\"}\n";
   Open(ClockMs());
  }

void PipeFile::Close()
  {
   if(handle != INVALID_HANDLE)
      FileClose(handle);
   handle = INVALID_HANDLE;
   is_welcome = false;
  }

// ---- the connection -----------------------------------------------------------------------------

bool PipeFile::Open(long now_ms)
  {
   tried_ms = now_ms;
   ResetLastError();
   handle = FileOpen("\\\\.\\pipe\\" + name, FILE_READ | FILE_WRITE | FILE_BIN | FILE_ANSI);
   if(handle == INVALID_HANDLE)
     {
      if(!has_complained)
         LogWarning("pipe_not_there name=" + name + " code=" + IntegerToString(GetLastError()));
      has_complained = true;
      retry_ms = MathMin(2 * retry_ms, (long)PIPE_LONGEST_RETRY_MS);
      return(false);
     }
   connection++;
   in.Clear();
   out.Clear();
   searched = 0;
   sent = 0;
   taken = 0;
   was_writing = true;
   heard_ms = now_ms;
   polled_ms = now_ms;
   AddAscii(opening);
   window = Waiting();   // nothing but the first line goes out before it is answered
   Write();
   return(true);
  }

// What waits to be written is of no use on another connection: the gateway asks anew.
void PipeFile::Lose(string reason)
  {
   if(handle == INVALID_HANDLE)
      return;
   if(is_welcome || !has_complained)
      LogWarning("pipe_lost name=" + name + " reason=\"" + reason + "\"");
   has_complained = true;
   Close();
   tried_ms = ClockMs();
  }

// Call at each event of the timer, before NextLine and after the last Add.
void PipeFile::Poll()
  {
   long now_ms = ClockMs();
   if(handle == INVALID_HANDLE && (!IsTimeToOpen(now_ms) || !Open(now_ms)))
      return;
   if(now_ms - polled_ms > PIPE_AWAY_MS || now_ms < polled_ms)
      heard_ms = now_ms;   // it was this program that was away, in a slow call
   polled_ms = now_ms;
   Read();
   if(now_ms - heard_ms > PIPE_SILENT_MS)
      Lose("silent");
   if(is_welcome && (now_ms - said_ms >= PIPE_PING_MS || now_ms < said_ms) && Waiting() == 0)
      AddAscii("{\"kind\":\"ping\"}\n");
   Write();
  }

void PipeFile::Turn(bool is_writing)
  {
   if(was_writing == is_writing)
      return;
   was_writing = is_writing;
   FileFlush(handle);
   if(!FileSeek(handle, 0, SEEK_SET))
      ResetLastError();   // a pipe has no place to seek to; what counts is that it was asked
  }

void PipeFile::Read()
  {
   int count = handle == INVALID_HANDLE ? 0 : (int)FileSize(handle);
   if(count <= 0)
      return;
   Turn(false);
   in.MakeRoom(count);
   int got = (int)FileReadArray(handle, in.bytes, in.end, count);
   if(got <= 0)
     {
      Lose("read");
      return;
     }
   in.end += got;
   heard_ms = ClockMs();
  }

void PipeFile::Write()
  {
   int count = (int)MathMin((long)Waiting(), window - (sent - taken));
   if(handle == INVALID_HANDLE || count <= 0)
      return;
   Turn(true);
   ResetLastError();
   int done = (int)FileWriteArray(handle, out.bytes, out.start, count);
   FileFlush(handle);
   if(done != count || GetLastError() != 0)
     {
      Lose("write");
      return;
     }
   sent += count;
   out.Drop(count);
   said_ms = ClockMs();
  }

// ---- lines out ----------------------------------------------------------------------------------

void PipeFile::Add(const uchar &bytes[], int start, int count)
  {
   if(handle != INVALID_HANDLE)
      out.Add(bytes, start, count);
  }

void PipeFile::AddAscii(string text)
  {
   uchar bytes[];
   int count = StringLen(text);
   ArrayResize(bytes, count);
   for(int i = 0; i < count; i++)
      bytes[i] = (uchar)(StringGetCharacter(text, i) & 127);
   Add(bytes, 0, count);
  }

// A line is complete; what fits goes out at once.
void PipeFile::EndLine()
  {
   AddAscii("\n");
   Write();
  }

// ---- lines in -----------------------------------------------------------------------------------

// The next line for the program, in `line`. False: there is none now.
bool PipeFile::NextLine()
  {
   while(handle != INVALID_HANDLE && TakeLine())
      if(!IsOurs())
         return(true);
   return(false);
  }

bool PipeFile::TakeLine()
  {
   int length = in.Length();
   while(searched < length && in.bytes[in.start + searched] != '\n')
      searched++;
   if(searched == length)
     {
      if(length > PIPE_LONGEST_LINE)
         Lose("a line that is too long");
      return(false);
     }
   line_length = searched;
   if(ArraySize(line) < line_length)
      ArrayResize(line, 2 * line_length);
   ArrayCopy(line, in.bytes, 0, in.start, line_length);
   in.Drop(line_length + 1);
   searched = 0;
   return(true);
  }

// True: the line was about the pipe itself, and is done.
bool PipeFile::IsOurs()
  {
   if(BeginsWith(line, line_length, "{\"kind\":\"ping\""))
      Acknowledged();
   else if(BeginsWith(line, line_length, "{\"kind\":\"opened\""))
      Welcome();
   else if(BeginsWith(line, line_length, "{\"kind\":\"refused\"") || BeginsWith(line, line_length, "{\"kind\":\"error\""))
      LogWarning("pipe_complaint line=" + CharArrayToString(line, 0, MathMin(line_length, 200), CP_UTF8));
   else
      return(false);
   return(true);
  }

// An integer of the line, -1 if it has none under that key.
long LineInteger(const uchar &bytes[], int length, string key)
  {
   JsonReader reader;
   if(!reader.Parse(bytes, 0, length))
      return(-1);
   int token = reader.Find(0, key);
   return(token >= 0 && reader.Kind(token) == JSON_INTEGER ? reader.Integer(token) : -1);
  }

void PipeFile::Welcome()
  {
   window = LineInteger(line, line_length, "window");
   is_welcome = true;
   has_complained = false;
   retry_ms = PIPE_FIRST_RETRY_MS;
   LogInfo("pipe_open name=" + name + " window=" + IntegerToString(window));
  }

void PipeFile::Acknowledged()
  {
   long count = LineInteger(line, line_length, "taken");
   if(count >= taken && count <= sent)
      taken = count;
  }

#endif
