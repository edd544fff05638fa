// The plain form's other half: at each tick the price goes out as a bare number, and the program waits
// for the answer, which it shows. No include of ours: somebody else has written this.
#property strict

input string PipeName = "plain";
input int    TimeoutMs = 1000;

int handle = INVALID_HANDLE;

int OnInit()
  {
   return(INIT_SUCCEEDED);
  }

void OnDeinit(const int reason)
  {
   Hang();
  }

void Hang()
  {
   if(handle != INVALID_HANDLE)
      FileClose(handle);
   handle = INVALID_HANDLE;
  }

void OnTick()
  {
   uint since = GetTickCount();
   string answer = Ask(DoubleToString(MarketInfo(Symbol(), MODE_BID), 5));
   Comment(answer);
   Print("waited " + IntegerToString(GetTickCount() - since));
  }

string Ask(string number)
  {
   if(handle == INVALID_HANDLE)
      handle = FileOpen("\\\\.\\pipe\\" + PipeName, FILE_READ | FILE_WRITE | FILE_BIN | FILE_ANSI);
   if(handle == INVALID_HANDLE)
      return("no pipe");
   uchar bytes[];
   int count = StringToCharArray(number + "\r\n", bytes, 0, WHOLE_ARRAY, CP_UTF8) - 1;
   if((int)FileWriteArray(handle, bytes, 0, count) != count)
     {
      Hang();
      return("pipe lost");
     }
   FileFlush(handle);
   FileSeek(handle, 0, SEEK_SET);
   string answer = ReadLine();
   if(answer == "")
     {
      Hang();   // an answer that is late must not be taken for the next one's
      return("no answer");
     }
   FileFlush(handle);
   FileSeek(handle, 0, SEEK_SET);
   return(answer);
  }

// The answer without its end, empty if it is not there in time.
string ReadLine()
  {
   uchar bytes[];
   int count = 0;
   uint since = GetTickCount();
   while((int)(GetTickCount() - since) < TimeoutMs && !IsStopped())
     {
      int there = (int)FileSize(handle);
      if(there == 0)
        {
         Sleep(1);
         continue;
        }
      ArrayResize(bytes, count + there);
      count += (int)FileReadArray(handle, bytes, count, there);
      if(count >= 2 && bytes[count - 1] == '\n')
         return(CharArrayToString(bytes, 0, count - 2, CP_UTF8));
     }
   return("");
  }
